"""The contracts of the tables: what they refuse, and that they say which table, rule and path."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyspark.errors import PySparkException

from fruits_pipeline.contracts import TableContract
from fruits_pipeline.errors import ContractError
from fruits_pipeline.failures import explain
from fruits_pipeline.images import REASONS
from fruits_pipeline.schemas import COLUMNS, N_FEATURES, arrow_schema, struct_type
from fruits_pipeline.workers.contracts import ROW_RULES
from fruits_pipeline.workers.writing import MappedRows

PATH = "file:/a b/é #1%20.jpg"
INDEX = {"path": PATH, "length": 5, "modification_time": datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)}
LABELED = {**INDEX, "label": "Äpfel rot"}
FEATURIZED = {
    **LABELED,
    "sha256": "0" * 64,
    "width": 100,
    "height": 100,
    "mode": "RGB",
    "features": [0.0, 6.0] * (N_FEATURES // 2),
    "reason": None,
    "detail": None,
    "judged_by": "decoder/1",
    "encoder": "0123456789abcdef",
    "run_id": "2026-11-21T12.00.00.000Z",
}
QUARANTINED = {**FEATURIZED, "features": None, "reason": "empty", "detail": "0 bytes", "width": None, "mode": None}
STATUS = {**LABELED, "status": "unchanged", "reason": None, "detail": None, "encoder": "e", "run_id": "r"}
REDUCED = {
    "path": PATH,
    "label": "x",
    "sha256": "0" * 64,
    "encoder": "0123456789abcdef",
    "features_run_id": "2026-11-20T12.00.00.000Z",
    "fit": "fedcba9876543210",
    "run_id": "2026-11-21T12.00.00.000Z",
    "pca_features": [0.5, -1e300],
}

GOOD = {
    "image_index": [INDEX, {**INDEX, "length": 0}],
    "labeled_images": [LABELED],
    "featurized_images": [
        FEATURIZED,
        {**FEATURIZED, "features": [0.0] * N_FEATURES},
        *[{**QUARANTINED, "reason": reason} for reason in REASONS],
        {**QUARANTINED, "reason": "vanished", "sha256": None},
        {**QUARANTINED, "reason": "unreadable", "sha256": None},
    ],
    "image_status": [{**STATUS, "status": status} for status in ("featurised", "quarantined", "unchanged")],
    "reduced_features": [REDUCED, {**REDUCED, "pca_features": []}],
}


def changed(value: float, at: int = 700) -> list[float]:
    features = list(FEATURIZED["features"])
    features[at] = value
    return features


NAN, INFINITY = float("nan"), float("inf")
RELU6 = "features are finite and within ReLU6's 0 ... 6"
COUNT = f"{N_FEATURES} features"
LABEL = "label is the name of a folder"

BAD = {
    ("image_index", "length is known"): [{"length": None}, {"length": -1}],
    ("image_index", "modification time is known"): [{"modification_time": None}],
    ("labeled_images", "length is known"): [{"length": -1}],
    ("labeled_images", "modification time is known"): [{"modification_time": None}],
    ("labeled_images", LABEL): [{"label": None}, {"label": ""}],
    ("featurized_images", LABEL): [{"label": None}],
    ("featurized_images", "either features or a reason"): [{"features": None}, {"reason": "empty"}],
    ("featurized_images", "reason is a known code"): [{"features": None, "reason": "bad_luck"}],
    ("featurized_images", COUNT): [
        {"features": [1.0] * (N_FEATURES - 1)},
        {"features": [1.0] * (N_FEATURES + 1)},
        {"features": []},
        {"features": changed(None)},
    ],
    ("featurized_images", RELU6): [
        {"features": changed(6.0001)},
        {"features": changed(-0.0001, at=0)},
        {"features": changed(NAN)},
        {"features": changed(INFINITY, at=N_FEATURES - 1)},
        {"features": changed(-INFINITY)},
        {"features": [None] * N_FEATURES},
    ],
    ("featurized_images", "sha256 where bytes were read"): [
        {"sha256": None},
        {"sha256": "0" * 63},
        {"features": None, "reason": "empty", "sha256": None},
    ],
    ("featurized_images", "encoder and run are named"): [
        {"encoder": None},
        {"encoder": "0123456789abcde"},
        {"run_id": None},
    ],
    ("image_status", "status is known"): [{"status": "lost"}, {"status": None}],
    ("reduced_features", LABEL): [{"label": ""}],
    ("reduced_features", "origin is named"): [
        {"fit": "fedcba987654321"},
        {"fit": None},
        {"sha256": None},
        {"sha256": "0" * 63},
        {"encoder": None},
        {"encoder": "0123456789abcdef0"},
        {"features_run_id": None},
        {"run_id": None},
    ],
    ("reduced_features", "pca_features are finite"): [
        {"pca_features": [0.0, NAN]},
        {"pca_features": [-INFINITY]},
        {"pca_features": [None]},
        {"pca_features": None},
    ],
}


def rows_of(spark, table, rows):
    return spark.createDataFrame([tuple(row[name] for name in COLUMNS[table]) for row in rows], struct_type(table))


def checked(table, frame):
    """The rows as they are written."""
    return TableContract(table).validate(frame).to_dataframe()


def write(frame) -> None:
    """Evaluates every column, as writing a table does."""
    frame.write.format("noop").mode("overwrite").save()


# ---- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", sorted(ROW_RULES))
def test_missing_extra_and_wrongly_typed_columns_are_refused(spark, table):
    frame = spark.createDataFrame([], struct_type(table))
    contract, last = TableContract(table), list(COLUMNS[table])[-1]
    with pytest.raises(ContractError, match=f"Table {table}: .*'{last}'"):
        contract.validate(frame.drop(last))
    with pytest.raises(ContractError, match=f"Table {table}: .*'one_more': 'int'"):
        contract.validate(frame.selectExpr("*", "1 as one_more"))
    with pytest.raises(ContractError, match=f"Table {table}: .*'{last}': 'boolean'"):
        contract.validate(frame.withColumn(last, frame[last].isNull()))


def test_an_integer_is_no_long(spark):
    frame = spark.createDataFrame([], struct_type("image_index"))
    with pytest.raises(ContractError, match=r"'length': 'bigint'.*'length': 'int'"):
        TableContract("image_index").validate(frame.withColumn("length", frame["length"].cast("int")))


def test_the_order_of_the_columns_is_that_of_the_contract(spark):
    for table in ROW_RULES:
        frame = rows_of(spark, table, GOOD[table]).select(sorted(COLUMNS[table]))
        assert frame.columns != list(COLUMNS[table])
        assert checked(table, frame).collect() == rows_of(spark, table, GOOD[table]).collect()


def test_what_workers_make_has_the_columns_of_the_contract(spark):
    """There is no plan that could say so before."""

    def paths(batches):
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"path": ["x"]})

    rows = MappedRows(spark.range(1, numPartitions=1), paths, "reduced_features")
    with pytest.raises(PySparkException) as caught:
        TableContract("reduced_features").validate(rows).to_dataframe().collect()
    assert "Table reduced_features: expected columns path, label, " in explain(caught.value)


# ---- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", sorted(ROW_RULES))
def test_good_rows_pass_unchanged(spark, table):
    frame = rows_of(spark, table, GOOD[table])
    passed = checked(table, frame)
    assert passed.schema == frame.schema
    assert passed.collect() == frame.collect()


def test_every_rule_is_about_a_column_of_its_table():
    for table, rules in ROW_RULES.items():
        for name, rule in rules.items():
            assert rule.column in COLUMNS[table], name
            assert rule.column in getattr(rule, "condition", rule.column), name


def test_every_table_that_is_written_has_rules():
    assert set(ROW_RULES) == set(COLUMNS) - {"raw_images"}


def test_every_rule_is_tested():
    assert set(BAD) == {(table, rule) for table, rules in ROW_RULES.items() for rule in rules}
    assert set(GOOD) == set(ROW_RULES)


@pytest.mark.parametrize(("table", "rule"), sorted(BAD))
def test_a_broken_rule_stops_the_write(spark, table, rule):
    """It says which table, which column, which rule, and which image."""
    good, bad = GOOD[table][0], {**GOOD[table][0], **BAD[table, rule][0]}
    with pytest.raises(PySparkException) as caught:
        write(checked(table, rows_of(spark, table, [good, {**bad, "path": f"{PATH}.bad"}, good])))
    column = ROW_RULES[table][rule].column
    assert f"table {table}, column {column}: not true that {rule}: {PATH}.bad" in explain(caught.value)


def kept_rules(spark, table, rows) -> list[dict[str, bool]]:
    """Which rules each row keeps, as the contract evaluates them, where null is not true."""
    (batch,) = rows_of(spark, table, rows).coalesce(1).toArrow().cast(arrow_schema(table)).to_batches()
    kept = {name: rule.holds(batch).fill_null(False).to_pylist() for name, rule in ROW_RULES[table].items()}
    return [dict(zip(kept, row, strict=True)) for row in zip(*kept.values(), strict=True)]


@pytest.mark.parametrize("table", sorted({table for (table, _), rows in BAD.items() if len(rows) > 1}))
def test_every_broken_value_breaks_its_rule(spark, table):
    broken = [(rule, change) for (name, rule), rows in BAD.items() if name == table for change in rows]
    kept = kept_rules(spark, table, [{**GOOD[table][0], **change} for _, change in broken])
    assert [change for (rule, change), row in zip(broken, kept, strict=True) if row[rule]] == []


@pytest.mark.parametrize("table", ["image_index", "featurized_images"])
def test_a_row_without_path_stops_the_write(spark, table):
    with pytest.raises(PySparkException) as caught:
        write(checked(table, rows_of(spark, table, [{**GOOD[table][0], "path": None}])))
    assert f"table {table}, column path: it is null" in explain(caught.value)


def test_a_broken_row_leaves_no_finished_table(spark, tmp_path):
    frame = rows_of(spark, "labeled_images", [LABELED] * 50 + [{**LABELED, "label": ""}]).coalesce(1)
    with pytest.raises(PySparkException):
        TableContract("labeled_images").validate(frame).write(f"file://{tmp_path}/table", {})
    assert list(tmp_path.rglob("*.parquet")) == []
