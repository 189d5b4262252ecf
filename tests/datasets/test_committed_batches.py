"""A batch exists when it is committed, whole; nobody rewrites it; other tools can read it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from fruits_pipeline.datasets import CommittedBatchesDataset, committed_folders
from fruits_pipeline.schemas import COLUMNS, arrow_schema, struct_type
from fruits_pipeline.workers.writing import MappedRows

WHEN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def dataset(folder: Path | str, run_id: str | None = None, **options) -> CommittedBatchesDataset:
    version = Version(None, run_id) if run_id else None
    return CommittedBatchesDataset(filepath=str(folder), table="labeled_images", version=version, **options)


def rows_of(spark, *paths: str):
    return spark.createDataFrame([(path, 1, WHEN, "é") for path in paths], struct_type("labeled_images"))


def loaded(folder: Path) -> list[str]:
    return sorted(row["path"] for row in dataset(folder).load().collect())


@pytest.mark.usefixtures("spark")
def test_a_table_without_batches_is_empty(tmp_path):
    empty = dataset(tmp_path / "nothing")
    assert not empty.exists()
    assert empty.load().collect() == []
    assert dict(empty.load().dtypes) == COLUMNS["labeled_images"]
    (tmp_path / "nothing").mkdir()
    assert dataset(tmp_path / "nothing").load().collect() == []
    assert not (tmp_path / "nothing").exists() or list((tmp_path / "nothing").iterdir()) == []


def test_every_run_adds_a_batch(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "c"))
    first = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    dataset(tmp_path, "2").save(rows_of(spark, "a", "b"))
    assert dataset(tmp_path).exists()
    assert dataset(tmp_path).committed_batches() == ["batch=1", "batch=2"]
    assert loaded(tmp_path) == ["a", "b", "c"]
    assert {file: file.stat().st_mtime_ns for file in first} == first
    assert dict(dataset(tmp_path).load().dtypes) == COLUMNS["labeled_images"]  # no column `batch`
    assert dataset(tmp_path).load().first()["modification_time"].astimezone(UTC) == WHEN


def test_a_run_commits_once(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    with pytest.raises(DatasetError, match="batch=1 is already committed"):
        dataset(tmp_path, "1").save(rows_of(spark, "b"))
    assert loaded(tmp_path) == ["a"]


def test_a_clock_that_is_late_is_refused(spark, tmp_path):
    """Of two rows of an image the one of the later run counts, so an earlier name would never be seen."""
    dataset(tmp_path, "2").save(rows_of(spark, "a"))
    with pytest.raises(DatasetError, match=r"batch=2, which is later than this run, batch=1: .* clock"):
        dataset(tmp_path, "1").save(rows_of(spark, "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["batch=2"]
    assert loaded(tmp_path) == ["a"]


def test_what_a_dead_run_left_is_not_read_and_is_cleared_by_the_same_run(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    dataset(tmp_path, "2").save(rows_of(spark, "dead"))
    (tmp_path / "batch=2" / "_SUCCESS").unlink()
    assert dataset(tmp_path).committed_batches() == ["batch=1"]
    assert loaded(tmp_path) == ["a"]
    dataset(tmp_path, "2").save(rows_of(spark, "alive"))
    assert loaded(tmp_path) == ["a", "alive"]


def test_what_a_dead_run_left_is_cleared_by_the_next_run(spark, tmp_path):
    for run_id, path in (("1", "a"), ("2", "dead")):
        dataset(tmp_path, run_id).save(rows_of(spark, path))
    (tmp_path / "batch=2" / "_SUCCESS").unlink()
    dataset(tmp_path, "3").save(rows_of(spark, "b"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch=1", "batch=3"]
    assert loaded(tmp_path) == ["a", "b"]


def test_only_a_dead_run_is_an_empty_table(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "dead"))
    (tmp_path / "batch=1" / "_SUCCESS").unlink()
    assert loaded(tmp_path) == []
    assert not dataset(tmp_path).exists()


def test_a_failing_write_commits_nothing(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    failing = rows_of(spark, *"bcdefgh").selectExpr(
        "if(path = 'h', raise_error('by intent'), path) as path", "length", "modification_time", "label"
    )
    with pytest.raises(DatasetError, match="by intent"):
        dataset(tmp_path, "2").save(failing)
    assert dataset(tmp_path).committed_batches() == ["batch=1"]
    assert loaded(tmp_path) == ["a"]


def test_other_files_and_folders_in_the_table_are_no_batches(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark, "a"))
    for name in ("_temporary", ".ipynb_checkpoints", "notes", "batch=2"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes" / "_SUCCESS").touch()
    (tmp_path / "batch=3").touch()
    (tmp_path / "readme.txt").touch()
    assert dataset(tmp_path).committed_batches() == ["batch=1"]
    assert loaded(tmp_path) == ["a"]


def test_an_empty_batch_is_a_batch(spark, tmp_path):
    dataset(tmp_path, "1").save(rows_of(spark))
    assert dataset(tmp_path).committed_batches() == ["batch=1"]
    assert loaded(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["a b", "é ü 果", "a[1]", "{a,b}", "a#b", "a%20b", "a*b?", "a=b", "a+b&c", "~", "$HOME"]
)
def test_odd_folder_names(spark, tmp_path, name):
    folder = tmp_path / name / "table"
    if name == "a[1]":  # where a pattern would find another table
        dataset(tmp_path / "a1" / "table", "1").save(rows_of(spark, "wrong"))
    dataset(folder, "run 1").save(rows_of(spark, "a"))
    assert [path.name for path in folder.iterdir()] == ["batch=run 1"]
    assert loaded(folder) == ["a"]
    with pytest.raises(DatasetError, match="already committed"):
        dataset(folder, "run 1").save(rows_of(spark, "b"))


def test_a_relative_folder_is_that_of_the_working_directory(spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset("some/table", "1").save(rows_of(spark, "a"))
    assert (tmp_path / "some" / "table" / "batch=1" / "_SUCCESS").is_file()
    assert loaded(Path("some/table")) == ["a"]


def test_other_tools_read_all_batches(spark, tmp_path):
    dataset(tmp_path, "2026-11-20T00.00.00.000Z").save(rows_of(spark, "a", "b"))
    dataset(tmp_path, "2026-11-21T00.00.00.000Z").save(rows_of(spark, "c"))
    for frame in (pq.read_table(tmp_path).to_pandas(), pd.read_parquet(tmp_path)):
        assert sorted(frame["path"]) == ["a", "b", "c"]
        assert list(frame.columns) == [*COLUMNS["labeled_images"], "batch"]
        assert set(frame["label"]) == {"é"}
        assert set(frame["batch"]) == {"2026-11-20T00.00.00.000Z", "2026-11-21T00.00.00.000Z"}
    everything = spark.read.parquet(str(tmp_path))
    assert sorted(row["path"] for row in everything.collect()) == ["a", "b", "c"]


def test_options_of_the_writer(spark, tmp_path):
    dataset(tmp_path, "1", save_args={"compression": "gzip"}).save(rows_of(spark, "a"))
    dataset(tmp_path, "2").save(rows_of(spark, "a"))
    used = [pq.read_metadata(file).row_group(0).column(0).compression for file in sorted(tmp_path.glob("*/*.parquet"))]
    assert used == ["GZIP", "ZSTD"]
    assert loaded(tmp_path) == ["a", "a"]


def test_without_a_version_the_batch_is_named_after_the_time(tmp_path):
    assert dataset(tmp_path).batch.startswith("batch=20")


def test_s3_folders_are_written_through_s3a():
    for scheme in ("s3", "s3a"):
        table = dataset(f"{scheme}://bucket/a b/table", "1")
        assert table._folders.spark_path(table.batch) == "s3a://bucket/a b/table/batch=1"


# ---- one batch in the place of others --------------------------------------------------------------------------------


def grow(spark, folder: Path) -> None:
    """Two batches, of runs 1 and 2."""
    dataset(folder, "1").save(rows_of(spark, "a", "b"))
    dataset(folder, "2").save(rows_of(spark, "c"))


def folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_batch_takes_the_place_of_all_that_are_committed(spark, tmp_path):
    grow(spark, tmp_path)
    before = dataset(tmp_path).load()
    dataset(tmp_path, "3", replaces=True).save(rows_of(spark, "A", "B", "C"))
    assert dataset(tmp_path).committed_batches() == ["batch=3"]
    assert loaded(tmp_path) == ["A", "B", "C"]
    assert folders(tmp_path) == ["batch=1", "batch=2", "batch=3"]
    assert sorted(row["path"] for row in before.collect()) == ["a", "b", "c"]  # whoever has begun can finish


def test_the_commit_of_a_replacement_is_one_write(spark, tmp_path, monkeypatch):
    """At every moment a reader sees all old rows or all new ones: the mark is written last, and says what it ends."""
    grow(spark, tmp_path)
    seen = []
    write = committed_folders.write_whole

    def watched(filesystem, path, content):
        seen.append((loaded(tmp_path), path))
        assert list((tmp_path / "batch=3").glob("*.parquet"))
        write(filesystem, path, content)
        seen.append((loaded(tmp_path), path))

    monkeypatch.setattr(committed_folders, "write_whole", watched)
    dataset(tmp_path, "3", replaces=True).save(rows_of(spark, "new"))
    mark = str(tmp_path / "batch=3" / "_SUCCESS")
    assert seen == [(["a", "b", "c"], mark), (["new"], mark)]


def test_a_dead_replacement_replaces_nothing(spark, tmp_path, monkeypatch):
    grow(spark, tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(committed_folders, "write_whole", die)
        with pytest.raises(KeyboardInterrupt):
            dataset(tmp_path, "3", replaces=True).save(rows_of(spark, "dead"))
    assert list((tmp_path / "batch=3").glob("*.parquet"))
    assert loaded(tmp_path) == ["a", "b", "c"]
    dataset(tmp_path, "4").save(rows_of(spark, "d"))
    assert folders(tmp_path) == ["batch=1", "batch=2", "batch=4"]
    assert loaded(tmp_path) == ["a", "b", "c", "d"]


def test_replaced_batches_can_go_at_once(spark, tmp_path):
    grow(spark, tmp_path)
    dataset(tmp_path, "3", replaces=True, keep_replaced_hours=0).save(rows_of(spark, "A"))
    assert folders(tmp_path) == ["batch=3"]
    assert loaded(tmp_path) == ["A"]


def test_an_empty_table_can_be_replaced(spark, tmp_path):
    dataset(tmp_path, "1", replaces=True, keep_replaced_hours=0).save(rows_of(spark, "a"))
    assert loaded(tmp_path) == ["a"]
    with pytest.raises(DatasetError, match="batch=1 is already committed"):
        dataset(tmp_path, "1", replaces=True).save(rows_of(spark, "b"))


# ---- as a summary ----------------------------------------------------------------------------------------------------


def features(folder: Path, run_id: str | None = None, **options) -> CommittedBatchesDataset:
    version = Version(None, run_id) if run_id else None
    return CommittedBatchesDataset(filepath=str(folder), table="featurized_images", version=version, **options)


def save_features(folder: Path, run_id: str, encoders: str, **options) -> None:
    """A batch of a row for each letter, by the encoder of that letter."""
    rows = [{"path": f"{run_id}/{number}", "encoder": name, "run_id": run_id} for number, name in enumerate(encoders)]
    batch = pa.RecordBatch.from_pylist(rows, arrow_schema("featurized_images"))
    features(folder, run_id, **options).save(MappedRows(None, lambda _: iter([batch]), "featurized_images"))


def known(folder: Path) -> dict[str, int]:
    return features(folder, load_as="summary").load()


def test_the_summary_is_that_of_all_committed_batches(tmp_path):
    assert known(tmp_path / "nothing") == {"rows": 0}
    save_features(tmp_path, "1", "AAB")
    assert known(tmp_path) == {"rows": 3, "encoder/A": 2, "encoder/B": 1, "run_id/1": 3}
    save_features(tmp_path, "2", "BC")
    save_features(tmp_path, "3", "")
    assert features(tmp_path).committed_batches() == ["batch=1", "batch=2", "batch=3"]
    both = {"rows": 5, "encoder/A": 2, "encoder/B": 2, "encoder/C": 1, "run_id/1": 3, "run_id/2": 2}
    assert known(tmp_path) == both
    save_features(tmp_path, "4", "DDDD")
    (tmp_path / "batch=4" / "_SUCCESS").unlink()
    assert list(tmp_path.glob("batch=4/*.parquet"))
    assert known(tmp_path) == both


def test_replaced_batches_play_no_part_in_the_summary(tmp_path):
    save_features(tmp_path, "1", "AAB")
    save_features(tmp_path, "2", "BC")
    save_features(tmp_path, "3", "AB", replaces=True)
    assert folders(tmp_path) == ["batch=1", "batch=2", "batch=3"]
    assert known(tmp_path) == {"rows": 2, "encoder/A": 1, "encoder/B": 1, "run_id/3": 2}
    save_features(tmp_path, "4", "E")
    assert known(tmp_path) == {"rows": 3, "encoder/A": 1, "encoder/B": 1, "encoder/E": 1, "run_id/3": 2, "run_id/4": 1}
    (tmp_path / "batch=3" / "_SUCCESS").unlink()  # by hand: the old ones are back
    assert known(tmp_path)["rows"] == 3 + 2 + 1


@pytest.mark.parametrize("mark", ["", '{"replaces": [], "committed_at": "2026-11-21T12:00:00+00:00"}'])
def test_batches_of_older_code_are_counted(tmp_path, mark):
    save_features(tmp_path, "1", "AAB")
    save_features(tmp_path, "2", "BC")
    (tmp_path / "batch=1" / "_SUCCESS").write_text(mark)
    assert "summary" in json.loads((tmp_path / "batch=2" / "_SUCCESS").read_text())
    (file,) = tmp_path.glob("batch=2/*.parquet")
    file.write_text("no Parquet")  # the mark knows
    expected = {"rows": 5, "encoder/A": 2, "encoder/B": 2, "encoder/C": 1, "run_id/1": 3, "run_id/2": 2}
    assert known(tmp_path) == expected


def test_rows_that_spark_has_are_summed_over_their_files(spark, tmp_path):
    save_features(tmp_path, "1", "AAABB")
    features(tmp_path, "2").save(features(tmp_path).load().repartition(3))
    assert len(list(tmp_path.glob("batch=2/*.parquet"))) > 1
    assert known(tmp_path) == {"rows": 10, "encoder/A": 6, "encoder/B": 4, "run_id/1": 10}
