"""The columns of the tables are the same for Spark and for Arrow."""

from fruits_pipeline.schemas import COLUMNS, arrow_schema, struct_type


def test_what_the_workers_send_has_the_columns_of_the_table(spark):
    for table in COLUMNS:
        empty = spark.createDataFrame(arrow_schema(table).empty_table())
        assert dict(empty.dtypes) == COLUMNS[table]
        assert dict(spark.createDataFrame([], struct_type(table)).dtypes) == COLUMNS[table]
