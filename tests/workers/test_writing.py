"""Files that the workers, or this process, write: whole or not there, once however often a task runs, for everyone."""

import errno
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException

from fruits_pipeline.errors import ContractError, EncoderError, InputError
from fruits_pipeline.failures import explain
from fruits_pipeline.schemas import COLUMNS, N_FEATURES, arrow_schema, struct_type
from fruits_pipeline.workers import writing
from fruits_pipeline.workers.arrays import list_array
from fruits_pipeline.workers.clock import Total
from fruits_pipeline.workers.summaries import add_up, hash_of, summary_of
from fruits_pipeline.workers.writing import TRIES, MappedRows, WriteRows

OPTIONS = {"compression": "zstd", "use_dictionary": False}


TABLE = "labeled_images"
"""A table of which only the number of rows is known, whatever its columns."""


def numbers(start: int, stop: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"number": pa.array(range(start, stop), pa.int64())})


def write(folder: Path, *batches: pa.RecordBatch, **more) -> list[dict]:
    said = WriteRows(iter, f"file://{folder}", TABLE, OPTIONS, **more)(batches)
    rows = [row for batch in said for row in batch.to_pylist()]
    return [{**row, "summary": json.loads(row["summary"])} for row in rows]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_all_batches_of_a_task_go_into_one_file(tmp_path):
    folder = tmp_path / "some é folder #1%20" / "batch=1"
    said = write(folder, numbers(0, 10), numbers(10, 10), numbers(10, 300))
    assert said == [{"name": "part-00000.parquet", "summary": {"rows": 300}}]
    assert names(folder) == ["part-00000.parquet"]
    assert pq.read_table(folder)["number"].to_pylist() == list(range(300))
    column = pq.read_metadata(folder / "part-00000.parquet").row_group(0).column(0)
    assert (column.compression, column.has_dictionary_page) == ("ZSTD", False)


def test_no_batches_no_file(tmp_path):
    assert write(tmp_path) == []
    assert names(tmp_path) == []


def test_a_batch_without_rows_is_a_file_without_rows(tmp_path):
    assert write(tmp_path, numbers(0, 0)) == [{"name": "part-00000.parquet", "summary": {"rows": 0}}]
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
    list(WriteRows(iter, f"file://{tmp_path}", TABLE, OPTIONS)(batches()))
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
        list(WriteRows(iter, f"file://{tmp_path}", TABLE, OPTIONS)(batches()))
    assert names(tmp_path) == ["part-00000.parquet"]
    assert pq.read_table(tmp_path)["number"].to_pylist() == list(range(5))


def test_the_file_is_hidden_until_it_is_finished(tmp_path, rows_per_group):
    seen = []

    def batches():
        yield numbers(0, rows_per_group)
        seen.append(names(tmp_path))
        yield numbers(0, 1)

    list(WriteRows(iter, f"file://{tmp_path}", TABLE, OPTIONS)(batches()))
    ((unfinished,),) = seen
    assert unfinished.startswith(".part-00000.parquet.")
    assert names(tmp_path) == ["part-00000.parquet"]


def test_writing_is_timed_and_making_the_rows_is_not(tmp_path, monkeypatch):
    total = Total()

    def slow():
        yield numbers(0, 100)
        time.sleep(0.2)

    list(WriteRows(iter, f"file://{tmp_path}", TABLE, OPTIONS, {"writing": total})(slow()))
    assert 0 < total.value < 0.2
    monkeypatch.setattr(writing, "publish", lambda path, target: time.sleep(0.2))
    list(WriteRows(iter, f"file://{tmp_path}", TABLE, OPTIONS, {"writing": total})(slow()))
    assert total.value > 0.2


def test_a_row_group_of_features_is_as_large_as_it_should_be(tmp_path):
    """As the benchmarks were measured: about 2,000 images."""
    batch = pa.RecordBatch.from_pydict({"features": list_array(np.zeros((64, N_FEATURES), np.float32), [False] * 64)})
    write(tmp_path, *[batch] * 100)
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    assert 1900 < metadata.row_group(0).num_rows < 2200


# ---- by this process -------------------------------------------------------------------------------------------------


def here(function, **more) -> MappedRows:
    return MappedRows(None, function, TABLE, **more)


def failing(*errors: BaseException):
    """Makes three rows, but raises one of the errors in each of the first attempts, after a row group or so."""
    attempts = []

    def make(batches):
        attempts.append(os.getpid())
        yield numbers(0, 2)
        if len(attempts) <= len(errors):
            raise errors[len(attempts) - 1]
        yield numbers(2, 3)

    return make, attempts


@pytest.fixture
def _no_spark(monkeypatch):
    def never(*_, **__):
        raise AssertionError("Spark was asked for")

    monkeypatch.setattr("pyspark.sql.SparkSession.builder.getOrCreate", never)


@pytest.mark.usefixtures("_no_spark")
def test_rows_of_nothing_are_made_and_written_by_this_process(tmp_path, monkeypatch):
    writers, publish = [], writing.publish

    def watched(*arguments):
        writers.append(os.getpid())
        publish(*arguments)

    monkeypatch.setattr(writing, "publish", watched)
    make, makers = failing()
    seconds = Total()
    said = here(make, seconds=seconds).write(f"file://{tmp_path}/batch=1", OPTIONS)
    assert said == {"part-00000.parquet": {"rows": 3}}
    assert pq.read_table(tmp_path / "batch=1", partitioning=None)["number"].to_pylist() == [0, 1, 2]
    assert makers == writers == [os.getpid()]
    assert seconds.value > 0


@pytest.mark.usefixtures("_no_spark")
def test_the_function_of_this_process_is_called_with_a_single_row(tmp_path):
    seen = []

    def make(batches):
        for batch in batches:
            seen.append(len(batch))
            yield numbers(0, 1)

    here(make).write(f"file://{tmp_path}", {})
    assert seen == [1]


@pytest.mark.usefixtures("_no_spark")
def test_this_process_says_what_is_in_its_file_as_the_workers_do(tmp_path):
    index = arrow_schema("image_index")

    def make(batches):
        for path in ("a", "b"):
            yield pa.RecordBatch.from_pylist([{"path": path}], index)

    said = MappedRows(None, make, "image_index").write(f"file://{tmp_path}", {})
    assert said == {"part-00000.parquet": {"rows": 2, "paths": hash_of("a") + hash_of("b")}}


@pytest.mark.usefixtures("_no_spark")
@pytest.mark.parametrize("n_failures", [1, TRIES - 1])
@pytest.mark.parametrize("kind", [OSError, TimeoutError, ConnectionError])
@pytest.mark.parametrize("bytes_per_group", [1, writing.BYTES_PER_GROUP])
def test_what_may_pass_is_tried_again(tmp_path, monkeypatch, caplog, n_failures, kind, bytes_per_group):
    """Whether the failed attempt had written a row group or not."""
    monkeypatch.setattr(writing, "BYTES_PER_GROUP", bytes_per_group)
    make, attempts = failing(*[kind(errno.EIO, "by intent")] * n_failures)
    assert here(make).write(f"file://{tmp_path}", {}) == {"part-00000.parquet": {"rows": 3}}
    assert len(attempts) == n_failures + 1
    assert names(tmp_path) == ["part-00000.parquet"]
    assert pq.read_table(tmp_path)["number"].to_pylist() == [0, 1, 2]
    assert [record.levelname for record in caplog.records if "by intent" in record.message] == ["WARNING"] * n_failures


@pytest.mark.usefixtures("_no_spark")
def test_a_file_that_could_not_be_stored_is_made_again(tmp_path, monkeypatch):
    publish, failures = writing.publish, [OSError(errno.EIO, "by intent")]

    def refused(*arguments):
        if failures:
            raise failures.pop()
        publish(*arguments)

    monkeypatch.setattr(writing, "publish", refused)
    make, attempts = failing()
    assert here(make).write(f"file://{tmp_path}", {}) == {"part-00000.parquet": {"rows": 3}}
    assert len(attempts) == 2


@pytest.mark.usefixtures("_no_spark")
def test_this_process_gives_up_as_spark_does(tmp_path):
    make, attempts = failing(*[OSError(errno.EIO, f"attempt {i}") for i in range(1, 9)])
    with pytest.raises(OSError, match="attempt 4"):
        here(make).write(f"file://{tmp_path}", {})
    assert len(attempts) == TRIES == 4
    assert names(tmp_path) == []


@pytest.mark.usefixtures("_no_spark")
@pytest.mark.parametrize(
    "error",
    [FileNotFoundError, PermissionError, InputError, ContractError, EncoderError, ValueError, KeyboardInterrupt],
)
@pytest.mark.parametrize("n_before", [0, TRIES - 2])
def test_what_will_not_pass_is_not_tried_again(tmp_path, error, n_before):
    make, attempts = failing(*[OSError(errno.EIO, "passes")] * n_before, error("by intent"))
    with pytest.raises(error, match="by intent"):
        here(make).write(f"file://{tmp_path}", {})
    assert len(attempts) == n_before + 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("n_rows", [0, 2, 4])
def test_another_number_of_rows_than_was_expected_is_an_error(tmp_path, n_rows):
    make, attempts = failing()
    with pytest.raises(ContractError, match=f"^Table {TABLE}: {n_rows} rows were expected, 3 were made"):
        here(make, n_rows=n_rows).write(f"file://{tmp_path}", {})
    assert len(attempts) == 1


def test_the_number_of_rows_that_was_expected_is_fine(tmp_path):
    make, _ = failing()
    assert here(make, n_rows=3).write(f"file://{tmp_path}/3", {}) == {"part-00000.parquet": {"rows": 3}}
    assert here(lambda _: iter([]), n_rows=0).write(f"file://{tmp_path}/0", {}) == {}
    with pytest.raises(ContractError, match="1 rows were expected, 0 were made"):
        here(lambda _: iter([]), n_rows=1).write(f"file://{tmp_path}/0", {})


def test_the_expected_number_is_that_of_all_tasks_and_is_still_expected_of_checked_rows(spark, tmp_path):
    schema = arrow_schema(TABLE)

    def make(batches):
        for batch in batches:
            row = {"path": "file:/a", "length": 1, "modification_time": 0, "label": "é"}
            yield pa.RecordBatch.from_pylist([row] * len(batch), schema)

    rows = MappedRows(spark.range(0, 9, numPartitions=4), make, TABLE, n_rows=9).checked()
    assert sorted(file["rows"] for file in rows.write(f"file://{tmp_path}", {}).values()) == [2, 2, 2, 3]
    with pytest.raises(ContractError, match="8 rows were expected, 9 were made"):
        replace(rows, n_rows=8).write(f"file://{tmp_path}", {})


def test_spark_can_have_rows_of_nothing_too(spark, tmp_path):
    """Once, in one task, and not in this process."""
    schema = arrow_schema(TABLE)

    def make(batches):
        for _ in batches:
            row = {"path": f"file:/{os.getpid()}", "length": 1, "modification_time": 0, "label": "é"}
            yield pa.RecordBatch.from_pylist([row, row], schema)

    frame = here(make).to_dataframe()
    assert dict(frame.dtypes) == COLUMNS[TABLE]
    first, second = frame.collect()
    assert first == second
    assert first["path"] != f"file:/{os.getpid()}"


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
    assert sorted(file["rows"] for file in said.values()) == [14, 14, 14, 14, 14, 15, 15]
    expected = sorted(made.to_dataframe().collect())
    assert len(expected) == 100
    reader = spark.read.schema(struct_type("featurized_images"))
    assert sorted(reader.parquet(f"file://{tmp_path}/batch=1").collect()) == expected
    assert dict(spark.read.parquet(f"file://{tmp_path}/batch=1").dtypes) == COLUMNS["featurized_images"]
    table = pq.read_table(tmp_path / "batch=1", partitioning=None)
    assert table.schema.remove_metadata() == SCHEMA
    assert add_up(made.table, said.values()) == summary_of(made.table, table.combine_chunks().to_batches()[0])
    assert sorted(table["path"].to_pylist()) == [row["path"] for row in expected]


def test_rows_that_spark_has_are_written_by_the_workers_too(spark, tmp_path):
    """A task without rows has no file."""
    rows = MappedRows.of(spark.range(0, 3, numPartitions=5), TABLE)
    assert list(rows.write(f"file://{tmp_path}", {}).values()) == [{"rows": 1}] * 3
    assert sorted(pq.read_table(tmp_path)["id"].to_pylist()) == [0, 1, 2]


@pytest.mark.parametrize("n_tasks", [0, 2, None])
def test_a_table_that_must_not_be_empty_says_so(spark, tmp_path, n_tasks):
    """Whether there is no task at all, or each has written a file without rows, or this process has."""

    def nothing(batches):
        for batch in batches:
            yield batch.slice(0, 0)

    source = None if n_tasks is None else spark.range(0, n_tasks, numPartitions=max(n_tasks, 1))
    rows = MappedRows(source, nothing, TABLE)
    said = rows.write(f"file://{tmp_path}", {})
    assert add_up(TABLE, said.values()) == {"rows": 0}
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
