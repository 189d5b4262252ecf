"""Of a table that each run writes anew, a reader sees the newest committed version, whole, or the one before it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from fruits_pipeline.datasets import CommittedTableDataset
from fruits_pipeline.errors import InputError
from fruits_pipeline.failures import explain
from fruits_pipeline.schemas import COLUMNS, arrow_schema, struct_type
from fruits_pipeline.workers.summaries import hash_of, summary_of
from fruits_pipeline.workers.writing import MappedRows

WHEN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def dataset(folder: Path | str, run_id: str | None = None, load: str | None = None, **options) -> CommittedTableDataset:
    version = Version(load, run_id) if run_id or load else None
    return CommittedTableDataset(filepath=str(folder), table="labeled_images", version=version, **options)


def rows_of(spark, *paths: str):
    return spark.createDataFrame([(path, 1, WHEN, "é") for path in paths], struct_type("labeled_images"))


def paths_of(rows) -> list[str]:
    return sorted(row["path"] for row in rows.collect())


def loaded(folder: Path, **options) -> list[str]:
    return paths_of(dataset(folder, **options).load())


def folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_version_counts_and_older_ones_go(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a", "b"))
    assert loaded(tmp_path) == ["a", "b"]
    dataset(tmp_path, "2").save(rows_of(spark, "c"))
    assert loaded(tmp_path) == ["c"]
    assert folders(tmp_path) == ["run=2"]
    assert dataset(tmp_path).exists()
    assert dict(dataset(tmp_path).load().dtypes) == COLUMNS["labeled_images"]  # no column `run`
    assert dataset(tmp_path).load().first()["modification_time"].astimezone(UTC) == WHEN


def test_an_empty_version_is_a_version(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    dataset(tmp_path, "2").save(rows_of(spark))
    assert loaded(tmp_path) == []
    assert dataset(tmp_path).exists()


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("made", [False, True], ids=["no folder", "an empty folder"])
def test_a_table_that_does_not_exist_is_an_error_unless_optional(tmp_path, made):
    folder = tmp_path / "a b" / "nothing"
    if made:
        folder.mkdir(parents=True)
    assert not dataset(folder).exists()
    with pytest.raises(DatasetError) as caught:
        dataset(folder).load()
    assert isinstance(caught.value.__cause__, InputError)
    assert f"The table {folder} does not exist. Run the pipelines that write it first (kedro run)" in explain(
        caught.value
    )
    assert dataset(folder, optional=True).load().collect() == []
    assert dict(dataset(folder, optional=True).load().dtypes) == COLUMNS["labeled_images"]
    assert not folder.exists() or folders(folder) == []


def test_an_optional_table_that_exists_is_loaded(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    assert loaded(tmp_path, optional=True) == ["a"]


def test_what_a_dead_run_left_is_not_read_and_is_cleared_by_the_next_run(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    dataset(tmp_path, "2", keep=2).save(rows_of(spark, "dead"))
    (tmp_path / "run=2" / "_SUCCESS").unlink()
    assert loaded(tmp_path) == ["a"]
    with pytest.raises(DatasetError, match="has no version 2"):
        loaded(tmp_path, load="2")
    dataset(tmp_path, "3", keep=2).save(rows_of(spark, "b"))
    assert folders(tmp_path) == ["run=1", "run=3"]
    assert loaded(tmp_path) == ["b"]


def test_the_same_run_writes_again_what_it_did_not_commit(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "dead"))
    (tmp_path / "run=1" / "_SUCCESS").unlink()
    assert not dataset(tmp_path).exists()
    dataset(tmp_path, "1").save(rows_of(spark, "alive"))
    assert loaded(tmp_path) == ["alive"]


def test_a_failing_write_leaves_the_old_version(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    failing = rows_of(spark, *"bcdefgh").selectExpr(
        "if(path = 'h', raise_error('by intent'), path) as path", "length", "modification_time", "label"
    )
    with pytest.raises(DatasetError, match="by intent"):
        dataset(tmp_path, "2").save(failing)
    assert loaded(tmp_path) == ["a"]


def test_a_table_can_be_written_from_its_own_old_version(spark, tmp_path):
    """As kedro run --pipelines=forget does; the old files go only when the new ones are committed."""
    dataset(tmp_path, "1").save(rows_of(spark, "a", "b"))
    dataset(tmp_path, "2").save(dataset(tmp_path).load().where("path != 'a'"))
    assert loaded(tmp_path) == ["b"]
    assert folders(tmp_path) == ["run=2"]


def test_several_versions_can_be_kept(spark, tmp_path):
    for run_id, path in (("1", "a"), ("2", "b"), ("3", "c")):
        before = dataset(tmp_path).load() if run_id == "3" else None
        dataset(tmp_path, run_id, keep=2).save(rows_of(spark, path))
    assert folders(tmp_path) == ["run=2", "run=3"]
    assert paths_of(before) == ["b"]  # whoever has begun can finish
    assert loaded(tmp_path) == ["c"]
    assert loaded(tmp_path, load="2") == ["b"]
    dataset(tmp_path, "4").save(rows_of(spark, "d"))
    assert folders(tmp_path) == ["run=4"]


def test_a_version_can_be_asked_for(spark, tmp_path):
    for run_id, path in (("1", "a"), ("2", "b")):
        dataset(tmp_path, run_id, keep=3).save(rows_of(spark, path))
    assert (loaded(tmp_path, load="1"), loaded(tmp_path, load="2")) == (["a"], ["b"])
    for optional in (False, True):
        with pytest.raises(DatasetError, match="has no version 3"):
            loaded(tmp_path, load="3", optional=optional)


def test_a_run_commits_once(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    with pytest.raises(DatasetError, match="run=1 is already committed"):
        dataset(tmp_path, "1").save(rows_of(spark, "b"))
    assert loaded(tmp_path) == ["a"]


def test_a_clock_that_is_late_is_refused(spark, tmp_path):
    """The version would not be the newest, and would never be seen."""
    dataset(tmp_path, "2026-11-21T12.00.00.000Z").save(rows_of(spark, "a"))
    with pytest.raises(DatasetError, match=r"is later than this run, run=2026-11-21T11.59.59.999Z: .* clock"):
        dataset(tmp_path, "2026-11-21T11.59.59.999Z").save(rows_of(spark, "b"))
    assert folders(tmp_path) == ["run=2026-11-21T12.00.00.000Z"]
    assert loaded(tmp_path) == ["a"]


def test_other_files_and_folders_in_the_table_are_no_versions(spark, tmp_path):
    for name in ("_temporary", ".ipynb_checkpoints", "notes", "batch=9"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_SUCCESS").touch()
    (tmp_path / "run=3").touch()
    (tmp_path / "readme.txt").touch()
    before = folders(tmp_path)
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    dataset(tmp_path, "2").save(rows_of(spark, "b"))
    assert loaded(tmp_path) == ["b"]
    assert folders(tmp_path) == sorted([*before, "run=2"])


@pytest.mark.parametrize("name", ["a b é 果", "a[1]", "{a,b}*?", "a#b%20c+d&e", "run=0"])
def test_odd_folder_names(spark, tmp_path, name):
    folder = tmp_path / name / "table"
    if name == "a[1]":  # where a pattern would find another table
        dataset(tmp_path / "a1" / "table", "1").save(rows_of(spark, "wrong"))
    dataset(folder, "run 1").save(rows_of(spark, "a"))
    dataset(folder, "run 2").save(rows_of(spark, "b"))
    assert folders(folder) == ["run=run 2"]
    assert loaded(folder) == ["b"]


def test_a_relative_folder_is_that_of_the_working_directory(spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset("some/table", "1").save(rows_of(spark, "a"))
    assert (tmp_path / "some" / "table" / "run=1" / "_SUCCESS").is_file()
    assert loaded(Path("some/table")) == ["a"]


def test_other_tools_read_the_table(spark, tmp_path):
    dataset(tmp_path, "2026-11-20T00.00.00.000Z").save(rows_of(spark, "a", "b"))
    dataset(tmp_path, "2026-11-21T00.00.00.000Z").save(rows_of(spark, "c"))
    for frame in (pq.read_table(tmp_path).to_pandas(), pd.read_parquet(tmp_path)):
        assert list(frame["path"]) == ["c"]
        assert list(frame.columns) == [*COLUMNS["labeled_images"], "run"]
        assert set(frame["run"]) == {"2026-11-21T00.00.00.000Z"}
    assert paths_of(spark.read.parquet(str(tmp_path))) == ["c"]


def test_options_of_the_writer(spark, tmp_path):
    dataset(tmp_path, "1", save_args={"compression": "gzip"}).save(rows_of(spark, "a"))
    (file,) = tmp_path.glob("run=1/*.parquet")
    assert pq.read_metadata(file).row_group(0).column(0).compression == "GZIP"
    dataset(tmp_path, "2").save(rows_of(spark, "a"))
    (file,) = tmp_path.glob("run=2/*.parquet")
    assert pq.read_metadata(file).row_group(0).column(0).compression == "ZSTD"
    assert loaded(tmp_path) == ["a"]


def test_without_a_version_it_is_named_after_the_time(spark, tmp_path):
    dataset(tmp_path).save(rows_of(spark, "a"))
    assert folders(tmp_path)[0].startswith("run=20")


def test_s3_folders_are_written_through_s3a():
    for scheme in ("s3", "s3a"):
        table = dataset(f"{scheme}://bucket/a b/table", "1")
        assert table._folders.spark_path("run=1") == "s3a://bucket/a b/table/run=1"


# ---- as what it loads ------------------------------------------------------------------------------------------------

TABLES = ["image_index", "labeled_images", "featurized_images", "image_status", "reduced_features"]
ZEROS = {
    "image_index": {"rows": 0, "paths": 0},
    "labeled_images": {"rows": 0},
    "featurized_images": {"rows": 0},
    "image_status": {"rows": 0, "paths": 0, "with_features": 0, "digest": 0},
    "reduced_features": {"rows": 0, "digest": 0},
}


def any_table(folder: Path, table: str, load_as: str = "spark", run_id: str | None = None, **options):
    version = Version(options.pop("load", None), run_id)
    return CommittedTableDataset(filepath=str(folder), table=table, load_as=load_as, version=version, **options)


def some_rows(table: str, *paths: str) -> pa.RecordBatch:
    """Rows of any table; every second one is in quarantine, where that exists."""
    values = {"bigint": 7, "int": 8, "boolean": True, "timestamp": WHEN, "array<float>": [0.5], "array<double>": [0.25]}
    columns = COLUMNS[table]
    rows = [
        {name: values.get(kind, f"{name} {number % 3}") for name, kind in columns.items()}
        | {"path": path}
        | ({"reason": "empty" if number % 2 else None} if "reason" in columns else {})
        for number, path in enumerate(paths)
    ]
    return pa.RecordBatch.from_pylist(rows, arrow_schema(table))


def save(folder: Path, table: str, *batches: pa.RecordBatch, run_id: str = "1", **options) -> None:
    any_table(folder, table, run_id=run_id, **options).save(MappedRows(None, lambda _: iter(batches), table))


def as_older_code_did(folder: Path, name: str = "run=1") -> None:
    """Its marks had no summaries."""
    success = folder / name / "_SUCCESS"
    mark = json.loads(success.read_text())
    del mark["summary"]
    assert set(mark) == {"replaces", "committed_at"}
    success.write_text(json.dumps(mark))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_the_same_whatever_it_is_loaded_as(spark, tmp_path, table):
    rows = some_rows(table, *"abécde")
    save(tmp_path, table, rows.slice(0, 4), rows.slice(4))
    batches = list(any_table(tmp_path, table, "arrow").load().function([]))
    assert pa.Table.from_batches(batches, arrow_schema(table)).to_pylist() == rows.to_pylist()
    of_spark = any_table(tmp_path, table).load()
    assert dict(of_spark.dtypes) == COLUMNS[table]
    assert of_spark.toArrow().to_pylist() == rows.to_pylist()
    assert any_table(tmp_path, table, "summary").load() == summary_of(table, rows)


@pytest.mark.parametrize("table", TABLES)
def test_rows_that_spark_has_are_loaded_as_anything(spark, tmp_path, table):
    """Several tasks, several files."""
    rows = some_rows(table, *"abécde")
    frame = spark.createDataFrame(pa.Table.from_batches([rows]), struct_type(table))
    any_table(tmp_path, table, run_id="1").save(frame.repartition(3))
    assert len(list(tmp_path.glob("run=1/*.parquet"))) > 1
    loaded = pa.Table.from_batches(any_table(tmp_path, table, "arrow").load().function([]), arrow_schema(table))
    assert loaded.sort_by("path").to_pylist() == sorted(rows.to_pylist(), key=lambda row: row["path"])
    assert any_table(tmp_path, table, "summary").load() == summary_of(table, rows)


def test_what_is_loaded_as_arrow_can_be_saved_again(tmp_path):
    rows = some_rows("labeled_images", "a", "b")
    save(tmp_path / "old", "labeled_images", rows)
    again = any_table(tmp_path / "old", "labeled_images", "arrow").load().checked()
    any_table(tmp_path / "new", "labeled_images", run_id="1").save(again)
    assert pq.read_table(tmp_path / "new", partitioning=None).to_pylist() == rows.to_pylist()


@pytest.mark.parametrize("table", TABLES)
def test_the_summary_of_a_table_is_counted_if_its_mark_does_not_say_it(tmp_path, table):
    rows = some_rows(table, *"abécde")
    save(tmp_path, table, rows.slice(0, 2), rows.slice(2))
    as_older_code_did(tmp_path)
    assert any_table(tmp_path, table, "summary").load() == summary_of(table, rows)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("n_batches", [0, 1])
def test_an_empty_table_has_a_summary(tmp_path, table, n_batches):
    """Whether there is a file without rows, or no file."""
    save(tmp_path, table, *[some_rows(table)] * n_batches)
    assert len(list(tmp_path.glob("run=1/*.parquet"))) == n_batches
    assert any_table(tmp_path, table, "summary").load() == ZEROS[table]
    as_older_code_did(tmp_path)
    assert any_table(tmp_path, table, "summary").load() == ZEROS[table]
    assert sum(map(len, any_table(tmp_path, table, "arrow").load().function([]))) == 0


def test_a_summary_does_not_read_the_table(tmp_path):
    save(tmp_path, "image_index", some_rows("image_index", "a"))
    (file,) = tmp_path.glob("run=1/*.parquet")
    file.write_text("no Parquet")
    assert any_table(tmp_path, "image_index", "summary").load() == {"rows": 1, "paths": hash_of("a")}


@pytest.mark.parametrize("load_as", ["arrow", "summary"])
def test_a_table_that_does_not_exist_is_an_error_whatever_it_is_loaded_as(tmp_path, load_as):
    with pytest.raises(DatasetError) as caught:
        any_table(tmp_path / "nothing", "image_index", load_as).load()
    assert isinstance(caught.value.__cause__, InputError)
    assert "does not exist. Run the pipelines that write it first" in explain(caught.value)


def test_nothing_is_known_of_an_optional_table_that_does_not_exist(tmp_path):
    assert any_table(tmp_path / "nothing", "image_index", "summary", optional=True).load() == {}
    save(tmp_path, "image_index", some_rows("image_index", "a"))
    assert any_table(tmp_path, "image_index", "summary", optional=True).load()["rows"] == 1
    (tmp_path / "run=1" / "_SUCCESS").unlink()
    assert any_table(tmp_path, "image_index", "summary", optional=True).load() == {}


def test_arrow_and_summary_are_of_the_newest_version_or_of_that_which_is_asked_for(tmp_path):
    for run_id, paths in (("1", "ab"), ("2", "c")):
        save(tmp_path, "image_index", some_rows("image_index", *paths), run_id=run_id, keep=2)

    def seen(**options) -> tuple[list[str], int]:
        (batch,) = any_table(tmp_path, "image_index", "arrow", **options).load().function([])
        return batch["path"].to_pylist(), any_table(tmp_path, "image_index", "summary", **options).load()["rows"]

    assert seen() == (["c"], 1)
    assert seen(load="1") == (["a", "b"], 2)


@pytest.mark.parametrize("table", ["image_index", "labeled_images"])
def test_a_table_that_spark_wrote_is_loaded_as_anything(spark, tmp_path, table):
    """As other code would, with times as Spark stores them if nobody says how."""
    rows = some_rows(table, "a", "é", "c")
    frame = spark.createDataFrame(pa.Table.from_batches([rows]), struct_type(table))
    frame.coalesce(1).write.parquet(str(tmp_path / "run=1"))
    checked = any_table(tmp_path, table, "arrow").load().checked()
    loaded = [row for batch in checked.function([]) for row in batch.to_pylist()]
    assert sorted(loaded, key=lambda row: row["path"]) == sorted(rows.to_pylist(), key=lambda row: row["path"])
    assert any_table(tmp_path, table, "summary").load() == summary_of(table, rows)


def test_no_rows_of_an_optional_table_that_does_not_exist(tmp_path):
    rows = any_table(tmp_path / "nothing", "image_index", "arrow", optional=True).load()
    assert list(rows.function([])) == []
