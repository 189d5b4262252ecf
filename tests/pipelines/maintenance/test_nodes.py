"""Many small batches become one, with the latest row of each image by each encoder, and no other row is lost."""

from datetime import UTC, datetime, timedelta

import pytest

from fruits_pipeline.contracts import TableContract
from fruits_pipeline.datasets import CommittedBatchesDataset
from fruits_pipeline.parameters import MaintenanceParameters
from fruits_pipeline.pipelines.maintenance.nodes import compact_batches
from fruits_pipeline.schemas import COLUMNS, N_FEATURES, struct_type

WHEN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def row(path: str, run_id: str, value: float | None = 1.0, **changes) -> dict:
    return {
        "path": path,
        "length": 10,
        "modification_time": WHEN,
        "label": "Apple",
        "sha256": "0" * 64,
        "width": 1,
        "height": 1,
        "mode": "RGB",
        "features": None if value is None else [value] * N_FEATURES,
        "reason": "empty" if value is None else None,
        "detail": None,
        "judged_by": "decoder/1",
        "encoder": "e" * 16,
        "run_id": run_id,
        **changes,
    }


BATCHES = {
    "1": [row("a", "1"), row("b", "1"), row("bad", "1", None), row("removed", "1"), row("replaced", "1")],
    "2": [row("c", "2"), row("a", "2", encoder="f" * 16), row("replaced", "2", length=11)],
    "3": [row("b", "3", 2.0), row("bad", "3"), row("later", "3", modification_time=WHEN + timedelta(microseconds=1))],
}
SUPERSEDED = {("b", "1"), ("bad", "1")}


def table(spark, rows: list[dict]):
    columns = COLUMNS["featurized_images"]
    values = [tuple(row[column] for column in columns) for row in rows]
    return spark.createDataFrame(values, struct_type("featurized_images")).coalesce(1)


@pytest.fixture
def folder(spark, tmp_path):
    for run_id, rows in BATCHES.items():
        dataset(tmp_path, run_id).save(table(spark, rows))
    return tmp_path


def dataset(folder, run_id: str = "9", **options) -> CommittedBatchesDataset:
    from kedro.io.core import Version

    return CommittedBatchesDataset(
        filepath=str(folder), table="featurized_images", version=Version(None, run_id), **options
    )


def compacted(rows, rows_per_file: int = 20_000) -> list:
    return list(compact_batches(rows, MaintenanceParameters(rows_per_file=rows_per_file, keep_replaced_hours=0)))


def test_one_batch_with_the_latest_rows(folder):
    expected = [row for rows in BATCHES.values() for row in rows if (row["path"], row["run_id"]) not in SUPERSEDED]
    (batch,) = compacted(dataset(folder).load())
    dataset(folder, "4", replaces=True, keep_replaced_hours=0).save(TableContract("featurized_images").validate(batch))
    assert [path.name for path in folder.iterdir()] == ["batch=4"]
    assert len(list(folder.rglob("*.parquet"))) == 1
    found = [row.asDict() for row in dataset(folder).load().collect()]
    for one in found:
        one["modification_time"] = one["modification_time"].astimezone(UTC)
    order = ["path", "length", "encoder", "run_id"]
    assert sorted(found, key=lambda one: [one[name] for name in order]) == sorted(
        expected, key=lambda one: [one[name] for name in order]
    )
    assert compacted(dataset(folder).load()) == []  # there is nothing left to do


def test_as_many_files_as_the_rows_need(folder):
    (batch,) = compacted(dataset(folder).load(), rows_per_file=5)
    dataset(folder, "4", replaces=True, keep_replaced_hours=0).save(batch)
    assert dataset(folder).load().count() == 9
    assert len(list(folder.rglob("*.parquet"))) == 2


def test_superseded_rows_are_reason_enough(spark, tmp_path):
    """One file already, but a row that a later run has done again."""
    dataset(tmp_path, "1").save(table(spark, [row("a", "1"), row("a", "2", 2.0)]))
    (batch,) = compacted(dataset(tmp_path).load())
    assert [(one["run_id"], one["features"][0]) for one in batch.collect()] == [("2", 2.0)]


def test_many_files_are_reason_enough(spark, tmp_path):
    dataset(tmp_path, "1").save(table(spark, [row("a", "1")]))
    dataset(tmp_path, "2").save(table(spark, [row("b", "2")]))
    (batch,) = compacted(dataset(tmp_path).load())
    assert batch.count() == 2
    assert compacted(dataset(tmp_path).load(), rows_per_file=1) == []


def test_without_batches_there_is_nothing_to_do(spark, tmp_path):
    assert compacted(dataset(tmp_path).load()) == []
