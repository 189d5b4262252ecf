"""Files that the workers write: whole or not there, once however often a task runs, and read by everyone."""

import errno
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException

from fruits_pipeline.errors import InputError
from fruits_pipeline.failures import explain
from fruits_pipeline.schemas import COLUMNS, N_FEATURES, arrow_schema, struct_type
from fruits_pipeline.workers import writing
from fruits_pipeline.workers.arrays import list_array
from fruits_pipeline.workers.writing import MappedRows, WriteRows

OPTIONS = {"compression": "zstd", "use_dictionary": False}


@dataclass
class Total:
    """An accumulator."""

    value: float = 0.0

    def add(self, term: float) -> None:
        self.value += term


def numbers(start: int, stop: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"number": pa.array(range(start, stop), pa.int64())})


def write(folder: Path, *batches: pa.RecordBatch, **more) -> list[dict]:
    said = WriteRows(iter, f"file://{folder}", OPTIONS, **more)(batches)
    return [row for batch in said for row in batch.to_pylist()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_all_batches_of_a_task_go_into_one_file(tmp_path):
    folder = tmp_path / "some é folder #1%20" / "batch=1"
    said = write(folder, numbers(0, 10), numbers(10, 10), numbers(10, 300))
    assert said == [{"name": "part-00000.parquet", "n_rows": 300}]
    assert names(folder) == ["part-00000.parquet"]
    assert pq.read_table(folder)["number"].to_pylist() == list(range(300))
    column = pq.read_metadata(folder / "part-00000.parquet").row_group(0).column(0)
    assert (column.compression, column.has_dictionary_page) == ("ZSTD", False)


def test_no_batches_no_file(tmp_path):
    assert write(tmp_path) == []
    assert names(tmp_path) == []


def test_a_batch_without_rows_is_a_file_without_rows(tmp_path):
    assert write(tmp_path, numbers(0, 0)) == [{"name": "part-00000.parquet", "n_rows": 0}]
    assert len(pq.read_table(tmp_path)) == 0


@pytest.fixture
def rows_per_group(monkeypatch):
    """A thousand of our rows, of one number each, are a row group."""
    monkeypatch.setattr(writing, "BYTES_PER_GROUP", numbers(0, 1000).nbytes)
    return 1000


def test_a_long_task_holds_one_row_group_at_a_time(tmp_path, monkeypatch, rows_per_group):
    n, made, written = 3 * rows_per_group, [], []

    def batches():
        for start in range(0, n, 50):
            made.append(start)
            yield numbers(start, start + 50)

    class Watched(pq.ParquetWriter):
        def write_table(self, table):
            written.append((len(table), len(made)))
            super().write_table(table)

    monkeypatch.setattr(writing.pq, "ParquetWriter", Watched)
    list(WriteRows(iter, f"file://{tmp_path}", OPTIONS)(batches()))
    assert written == [(rows_per_group, 20), (rows_per_group, 40), (rows_per_group, 60)]
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [rows_per_group] * 3


def test_a_task_that_is_repeated_writes_the_same_file_again(tmp_path):
    write(tmp_path, numbers(0, 5))
    first = (tmp_path / "part-00000.parquet").read_bytes()
    write(tmp_path, numbers(0, 5))
    assert names(tmp_path) == ["part-00000.parquet"]
    assert (tmp_path / "part-00000.parquet").read_bytes() == first


def test_a_task_that_fails_leaves_nothing_and_spoils_nothing(tmp_path, rows_per_group):
    write(tmp_path, numbers(0, 5))

    def batches():
        yield numbers(5, 5 + 2 * rows_per_group)
        raise OSError(errno.EIO, "by intent")

    with pytest.raises(OSError, match="by intent"):
        list(WriteRows(iter, f"file://{tmp_path}", OPTIONS)(batches()))
    assert names(tmp_path) == ["part-00000.parquet"]
    assert pq.read_table(tmp_path)["number"].to_pylist() == list(range(5))


def test_the_file_is_hidden_until_it_is_finished(tmp_path, rows_per_group):
    seen = []

    def batches():
        yield numbers(0, rows_per_group)
        seen.append(names(tmp_path))
        yield numbers(0, 1)

    list(WriteRows(iter, f"file://{tmp_path}", OPTIONS)(batches()))
    ((unfinished,),) = seen
    assert unfinished.startswith(".part-00000.parquet.")
    assert names(tmp_path) == ["part-00000.parquet"]


def test_writing_is_timed_and_making_the_rows_is_not(tmp_path, monkeypatch):
    total = Total()

    def slow():
        yield numbers(0, 100)
        time.sleep(0.2)

    list(WriteRows(iter, f"file://{tmp_path}", OPTIONS, {"writing": total})(slow()))
    assert 0 < total.value < 0.2
    monkeypatch.setattr(writing, "publish", lambda path, target: time.sleep(0.2))
    list(WriteRows(iter, f"file://{tmp_path}", OPTIONS, {"writing": total})(slow()))
    assert total.value > 0.2


def test_a_row_group_of_features_is_as_large_as_it_should_be(tmp_path):
    """As the benchmarks were measured: about 2,000 images."""
    batch = pa.RecordBatch.from_pydict({"features": list_array(np.zeros((64, N_FEATURES), np.float32), [False] * 64)})
    write(tmp_path, *[batch] * 100)
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    assert 1900 < metadata.row_group(0).num_rows < 2200


# ---- through Spark ---------------------------------------------------------------------------------------------------


SCHEMA = arrow_schema("featurized_images")


@pytest.fixture
def made(spark):
    """100 rows of seven tasks, whose features are made in the workers."""

    def make(batches):
        for batch in batches:
            numbers = batch["id"].to_numpy()
            columns = {field.name: pa.nulls(len(batch), field.type) for field in SCHEMA}
            columns["path"] = pa.array([f"é {number}" for number in numbers])
            columns["length"] = batch["id"]
            columns["modification_time"] = pa.array(numbers * 1_000_001, SCHEMA.field("modification_time").type)
            matrix = np.repeat(numbers[:, None] / 7, N_FEATURES, axis=1).astype(np.float32)
            columns["features"] = list_array(matrix, [False] * len(batch))
            yield pa.RecordBatch.from_pydict(columns, schema=SCHEMA)

    return MappedRows(spark.range(0, 100, numPartitions=7), make, "featurized_images")


def test_spark_and_other_tools_read_what_the_workers_write(spark, made, tmp_path):
    said = made.write(f"file://{tmp_path}/batch=1", OPTIONS)
    assert sorted(said) == [f"part-{i:05d}.parquet" for i in range(7)] == names(tmp_path)
    assert sum(said.values()) == 100
    expected = sorted(made.to_dataframe().collect())
    assert len(expected) == 100
    reader = spark.read.schema(struct_type("featurized_images"))
    assert sorted(reader.parquet(f"file://{tmp_path}/batch=1").collect()) == expected
    assert dict(spark.read.parquet(f"file://{tmp_path}/batch=1").dtypes) == COLUMNS["featurized_images"]
    table = pq.read_table(tmp_path / "batch=1", partitioning=None)
    assert table.schema.remove_metadata() == SCHEMA
    assert sorted(table["path"].to_pylist()) == [row["path"] for row in expected]


def test_rows_that_spark_has_are_written_by_the_workers_too(spark, tmp_path):
    """A task without rows has no file."""
    rows = MappedRows.of(spark.range(0, 3, numPartitions=5), "featurized_images")
    assert sorted(rows.write(f"file://{tmp_path}", {}).values()) == [1, 1, 1]
    assert sorted(pq.read_table(tmp_path)["id"].to_pylist()) == [0, 1, 2]


@pytest.mark.parametrize("n_tasks", [0, 2])
def test_a_table_that_must_not_be_empty_says_so(spark, tmp_path, n_tasks):
    """Whether there is no task at all, or each has written a file without rows."""

    def nothing(batches):
        for batch in batches:
            yield batch.slice(0, 0)

    rows = MappedRows(spark.range(0, n_tasks, numPartitions=max(n_tasks, 1)), nothing, "image_index")
    assert sum(rows.write(f"file://{tmp_path}", {}).values()) == 0
    with pytest.raises(InputError, match=r"^nobody there$"):
        replace(rows, if_empty="nobody there").write(f"file://{tmp_path}", {})


def test_what_a_worker_has_to_say_against_a_row_reaches_the_person(made, tmp_path):
    with pytest.raises(PySparkException) as caught:
        made.checked().write(f"file://{tmp_path}", OPTIONS)
    broken = (
        r"^A contract is broken: table featurized_images, column label: .*: é \d+\. Nothing of this table was committed"
    )
    assert re.search(broken, explain(caught.value))
    assert names(tmp_path) == []
