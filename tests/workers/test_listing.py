"""A folder's files, the images among them, and their labels, page by page and with every other file counted."""

import os
from collections import Counter

import pyarrow as pa
import pytest

from fruits_pipeline import listing
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers import writing
from fruits_pipeline.workers.clock import Total
from fruits_pipeline.workers.listing import LabelImages, ListFolder, SelectImages
from fruits_pipeline.workers.writing import MappedRows

ONE = pa.RecordBatch.from_pydict({"id": [0]})
FILES = ["Apple é/1.jpg", "Apple é/2.JPG", "Pear/3.jpg", "Pear/notes.txt", "Pear/.hidden.jpg", "readme"]


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"12345")
        os.utime(file, ns=(0, 1_700_000_000_123_456_789))
    return tmp_path / "images"


def rows_of(function, *batches: pa.RecordBatch) -> list[dict]:
    return [row for batch in function(batches or [ONE]) for row in batch.to_pylist()]


def test_a_folder_is_listed_page_by_page(folder, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 4)
    seconds = Total()
    batches = list(ListFolder(str(folder), {"listing": seconds})([ONE]))
    assert [len(batch) for batch in batches] == [4, 2]
    assert {batch.schema for batch in batches} == {arrow_schema("raw_images")}
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert {row["path"] for row in rows} == {f"file:{folder / name}" for name in FILES}
    assert {row["length"] for row in rows} == {5}
    assert {row["modification_time"].isoformat() for row in rows} == {"2023-11-14T22:13:20.123456+00:00"}
    assert [row["path"] for row in rows if row["hidden"]] == [f"file:{folder / 'Pear/.hidden.jpg'}"]
    assert seconds.value > 0


def test_without_an_input_row_nothing_is_listed():
    assert list(ListFolder("/nothing/there")([])) == []
    with pytest.raises(FileNotFoundError, match="/nothing/there"):
        list(ListFolder("/nothing/there")([ONE]))


def test_images_are_selected_and_all_others_counted(folder, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 2)
    ignored: Counter[str] = Counter()
    rows = rows_of(SelectImages(ListFolder(str(folder)), ("jpg",), ignored))
    assert sorted(row["path"] for row in rows) == [f"file:{folder / name}" for name in FILES[:3]]
    assert list(rows[0]) == arrow_schema("image_index").names
    assert ignored == {"txt": 1, "hidden": 1, "": 1}


def test_an_attempt_that_fails_counts_nothing(folder, tmp_path):
    ignored: Counter[str] = Counter()
    attempts = []

    def unsteady(batches):
        attempts.append(1)
        yield from ListFolder(str(folder))(batches)
        if len(attempts) < 3:
            raise OSError("by intent")

    rows = MappedRows(None, SelectImages(unsteady, ("jpg",), ignored), "image_index")
    (file,) = rows.write(f"file://{tmp_path}/index", {}).values()
    assert file["rows"] == 3
    assert len(attempts) == 3
    assert ignored == {"txt": 1, "hidden": 1, "": 1}


def test_images_get_the_names_of_their_folders(folder):
    images = SelectImages(ListFolder(str(folder)), ("jpg",), Counter())
    batches = list(LabelImages(images, 1)([ONE]))
    assert {batch.schema for batch in batches} == {arrow_schema("labeled_images")}
    labels = {row["path"].rpartition("/")[2]: row["label"] for batch in batches for row in batch.to_pylist()}
    assert labels == {"1.jpg": "Apple é", "2.JPG": "Apple é", "3.jpg": "Pear"}
    above = rows_of(LabelImages(images, 2))
    assert [row["label"] for row in above] == ["images"] * 3


def test_a_path_that_is_not_that_deep_has_no_label():
    index = pa.RecordBatch.from_pylist(
        [{"path": "s3://bucket/c.jpg"}, {"path": "s3://bucket/é/c.jpg"}], arrow_schema("image_index")
    )
    assert [row["label"] for row in rows_of(LabelImages(iter, 2), index)] == [None, "bucket"]
    assert [row["label"] for row in rows_of(LabelImages(iter, 2), index.slice(0, 0))] == []


def test_files_are_counted_once_however_often_the_index_is_stored(folder, tmp_path, monkeypatch):
    """As when S3 refuses the finished file, and all is done again."""
    publish, failures = writing.publish, [OSError("S3 does not answer"), OSError("again")]

    def refuse_twice(*arguments):
        if failures:
            raise failures.pop()
        publish(*arguments)

    monkeypatch.setattr(writing, "publish", refuse_twice)
    ignored = Counter()
    select = SelectImages(ListFolder(str(folder)), ("jpg",), ignored)
    (file,) = MappedRows(None, select, "image_index").write(f"file://{tmp_path}/index", {}).values()
    assert file["rows"] == 3
    assert ignored == {"txt": 1, "hidden": 1, "": 1}
    assert failures == []
