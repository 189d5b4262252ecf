"""Which images are forgotten, what is left of the tables, and what is said of it."""

import hashlib
import logging
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import ForgetParameters
from fruits_pipeline.pipelines.forget.nodes import (
    count_forgotten,
    count_remaining_features,
    drop_forgotten,
    find_forgotten,
    has_path,
    report_forgotten,
)
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.schemas import COLUMNS, arrow_schema, struct_type
from fruits_pipeline.workers.summaries import Summary, add_up, summary_of
from fruits_pipeline.workers.writing import MappedRows

WHEN = datetime(2026, 11, 21, tzinfo=UTC)
PATHS = [
    "file:/photos/Apple/1.jpg",
    "file:/photos/Apple/10.jpg",
    "file:/photos/Apple Red/1.jpg",
    "file:/photos/Pêche %_\\.[a]*/x y.jpg",
    "file:/photos/PêcheXY/x.jpg",
    "s3://bucket/photos/Apple/1.jpg",
]
APPLE, APPLE_10, RED, ODD, LIKE_ODD, S3 = PATHS


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def table(spark, name: str, rows: list[dict]):
    known = {"length": 1, "modification_time": WHEN, "label": "x", "status": "unchanged", "hidden": False}
    values = [tuple({**known, **row}.get(column) for column in COLUMNS[name]) for row in rows]
    return spark.createDataFrame(values, struct_type(name))


def summary(name: str, rows: list[dict]) -> Summary:
    """Of a table of these rows; a column that is not given is null."""
    return add_up(name, [summary_of(name, pa.RecordBatch.from_pylist(rows, arrow_schema(name)))])


def paths_of(frame) -> list[str]:
    return sorted(row["path"] for row in frame.select("path").collect())


# ---- by path ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listed(spark):
    return spark.createDataFrame([(path,) for path in PATHS], "path string")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["/photos/Apple/1.jpg"], [APPLE]),
        (["file:/photos/Apple/1.jpg"], [APPLE]),
        (["s3://bucket/photos/Apple/1.jpg"], [S3]),
        (["/photos/Apple/"], [APPLE, APPLE_10]),
        (["file:/photos/Apple/"], [APPLE, APPLE_10]),
        (["/photos/"], [APPLE, APPLE_10, RED, ODD, LIKE_ODD]),
        (["s3://bucket/"], [S3]),
        (["/photos/Apple"], []),  # no slash: one image, not a folder
        (["/photos/Apple/1"], []),
        (["Apple/1.jpg"], []),
        (["/bucket/photos/Apple/1.jpg"], []),
        (["/photos/P%/", "/photos/P*/", "/photos/P_che%/"], []),  # nothing is a pattern
        (["/photos/Pêche %_\\.[a]*/"], [ODD]),
        (["/photos/Pêche %_\\.[a]*/x y.jpg"], [ODD]),
        (["/photos/Apple/1.jpg", "/photos/Apple Red/"], [APPLE, RED]),
        (["/photos/Apple/1.jpg", "/photos/Apple/"], [APPLE, APPLE_10]),
        ([], []),
    ],
)
def test_paths_are_exact_or_below_a_folder(listed, asked, found):
    assert paths_of(listed.where(has_path(tuple(asked)))) == sorted(found)


# ---- by path, label or content ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(spark):
    """All that runs have made, and the last listing."""
    committed = [
        {"path": APPLE, "label": "Apple", "sha256": sha256_of("1")},
        {"path": APPLE_10, "label": "Apple", "sha256": sha256_of("10")},
        {"path": APPLE_10, "label": "Apple", "sha256": sha256_of("10, as it was"), "length": 2},
        {"path": RED, "label": "Apple Red", "sha256": sha256_of("1")},  # the same picture under another name
        {"path": ODD, "label": "Pêche", "sha256": None, "reason": "vanished"},
        {"path": S3, "label": "an old label", "sha256": sha256_of("s3")},
    ]
    listing = [{"path": RED, "label": "Apple Red"}, {"path": LIKE_ODD, "label": "Pêche"}, {"path": S3, "label": "Kiwi"}]
    return table(spark, "featurized_images", committed), table(spark, "labeled_images", listing)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"paths": [APPLE]}, [APPLE]),
        ({"paths": ["/photos/"]}, [APPLE, APPLE_10, RED, ODD, LIKE_ODD]),
        ({"labels": ["Apple"]}, [APPLE, APPLE_10]),
        ({"labels": ["Pêche"]}, [ODD, LIKE_ODD]),  # in quarantine, and listed but not done yet
        ({"labels": ["Kiwi"]}, [S3]),
        ({"labels": ["an old label"]}, [S3]),
        ({"labels": ["apple", "App"]}, []),
        ({"sha256": [sha256_of("1")]}, [APPLE, RED]),
        ({"sha256": [sha256_of("10, as it was")]}, [APPLE_10]),
        ({"sha256": [sha256_of("unknown")]}, []),
        ({"paths": [ODD], "labels": ["Apple Red"], "sha256": [sha256_of("s3")]}, [ODD, RED, S3]),
        ({"paths": f"{APPLE}; {RED}"}, [APPLE, RED]),
    ],
)
def test_images_are_found_by_path_label_or_content_each_once(known, asked, found):
    forgotten = find_forgotten(*known, ForgetParameters(**asked))
    assert forgotten.columns == ["path"]
    assert paths_of(forgotten) == sorted(found)


def test_nothing_asked_for_is_an_error(known):
    for empty in (ForgetParameters(), ForgetParameters(paths=" ; ")):
        with pytest.raises(
            InputError, match=r"Forget what\? .*forget\.paths=.*forget\.labels=Apple or forget\.sha256="
        ):
            find_forgotten(*known, empty)


def test_what_was_found_stays_known_when_the_tables_have_lost_it(spark, tmp_path):
    """The tables that are to lose the images are the ones in which they were found."""
    folder = tmp_path / "table"
    table(spark, "featurized_images", [{"path": APPLE, "label": "Apple"}]).write.parquet(str(folder))
    committed = spark.read.schema(struct_type("featurized_images")).parquet(str(folder))
    forgotten = find_forgotten(committed, table(spark, "labeled_images", []), ForgetParameters(labels=["Apple"]))
    assert forgotten.count() == 1
    for file in folder.glob("*.parquet"):
        file.unlink()
    assert paths_of(forgotten) == [APPLE]


# ---- the tables ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forgotten(spark):
    return spark.createDataFrame([(APPLE,), (RED,), ("file:/never/seen.jpg",)], "path string")


def test_the_other_rows_stay_as_they_are(spark, forgotten):
    rows = [{"path": path, "label": path[-12:]} for path in [*PATHS, APPLE, S3]]
    whole = table(spark, "labeled_images", rows)
    rest = drop_forgotten(whole, forgotten, "whatever", {"came": "before"})
    assert rest.schema == whole.schema
    order = ["path", "label"]
    expected = whole.where(~F.col("path").isin(APPLE, RED)).orderBy(order).collect()
    assert rest.orderBy(order).collect() == expected
    assert len(expected) == len(rows) - 3


def test_a_table_without_forgotten_images_is_written_anew(spark, forgotten):
    """Its earlier versions, and what a dead run left, go when it is saved."""
    assert paths_of(drop_forgotten(table(spark, "labeled_images", [{"path": S3}]), forgotten)) == [S3]
    assert paths_of(drop_forgotten(table(spark, "labeled_images", []), forgotten)) == []
    assert paths_of(drop_forgotten(table(spark, "labeled_images", [{"path": APPLE}]), forgotten.limit(0))) == [APPLE]


def test_the_next_fit_notices_that_features_are_gone():
    known = {"label": "Apple", "status": "unchanged", "encoder": "e", "run_id": "r"}
    rows = [{**known, "path": path} for path in (APPLE, RED, S3)]
    bad = {**known, "path": ODD, "reason": "empty"}
    before = count_remaining_features({"listed": 4}, summary("image_status", [*rows, bad]))
    after = count_remaining_features({**before, "listed": 4}, summary("image_status", [*rows[1:], bad]))
    assert (before["listed"], before["with_features"]) == (4, 3)
    assert (after["listed"], after["with_features"]) == (4, 2)
    assert before["digest"] != after["digest"]
    assert count_remaining_features(before, summary("image_status", rows)) == before  # what is gone had no features


def test_a_table_may_lose_all_its_rows(spark, forgotten):
    rest = drop_forgotten(table(spark, "labeled_images", [{"path": APPLE}, {"path": RED}]), forgotten)
    assert rest.collect() == []


def test_what_is_removed_is_counted_in_every_table(spark, forgotten):
    """Images that no table knows are not removed; rows of an image count as often as they are there."""
    contents = {
        "featurized_images": [APPLE, APPLE, RED, S3],
        "image_index": [APPLE, S3],
        "labeled_images": [APPLE, RED, S3],
        "image_status": [],
        "reduced_features": [S3],
        "raw_images": [RED, ODD],
    }
    frames = {name: table(spark, name, [{"path": path} for path in paths]) for name, paths in contents.items()}
    listing = MappedRows.of(frames.pop("raw_images"), "raw_images")
    assert count_forgotten(*frames.values(), listing, forgotten, RunRecord("a run")) == {
        "run_id": "a run",
        "images": 3,
        "still_in_raw": 1,
        "rows": {
            "featurized_images": 3,
            "image_index": 1,
            "labeled_images": 2,
            "image_status": 0,
            "reduced_features": 0,
        },
    }


@pytest.mark.parametrize("still", [0, 2])
def test_images_that_are_still_there_are_told(caplog, still):
    counts = {"run_id": "r", "images": 3, "still_in_raw": still, "rows": {"image_index": 3}}
    with caplog.at_level(logging.INFO):
        assert report_forgotten(counts, "whatever", None) == counts
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == bool(still)
    assert all(warning.startswith("2 of the images are still in the images folder") for warning in warnings)
