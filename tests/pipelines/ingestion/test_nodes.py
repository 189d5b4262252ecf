"""Which files are images: by their names, in any case, and every other file is counted."""

from collections import Counter
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_pipeline.contracts import TableContract
from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import IngestionParameters
from fruits_pipeline.pipelines.ingestion.nodes import count_ignored_files, index_images
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers.listing import kind_of
from fruits_pipeline.workers.writing import MappedRows

WHEN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
PARAMETERS = IngestionParameters(extensions=["jpg", ".PNG", "c++"])

IMAGES = [
    "a.jpg",
    "a.JPG",
    "a.JpG",
    "a.png",
    ".x.y.png",
    "a b é 🍎.jpg",
    "a.txt.jpg",
    "a.C++",
    "new\nline.jpg",
    "#%20?[x].jpg",
    ".jpg",
]
OTHERS = {  # name: extension under which it is counted
    "jpg": "",
    "ajpg": "",
    "a.jpg.txt": "txt",
    "a.jpg ": "jpg ",
    "a.jpg\n": "jpg\n",
    "a.jpeg": "jpeg",
    "a.TXT": "txt",
    "a.tar.gz": "gz",
    "a.ccc": "ccc",
    "a.": "",
    "Thumbs.db": "db",
    "jpg.d/README": "",
    "folder.jpg/README": "",
    "folder.jpg/notes.md": "md",
    "a.jpg~": "jpg~",
}
HIDDEN = ["._a.jpg", ".DS_Store", ".cache/b.jpg"]


def listing_of(names, hidden=()):
    """In pages of three files."""
    schema = arrow_schema("raw_images")
    rows = [
        {"path": f"file:/root.d/fruit/{name}", "length": 7, "modification_time": WHEN, "hidden": name in hidden}
        for name in names
    ]
    pages = [pa.RecordBatch.from_pylist(rows[i : i + 3], schema) for i in range(0, len(rows), 3)]
    return MappedRows(None, lambda _: iter(pages), "raw_images")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """The index as it is read again, and the run that wrote it."""
    folder, run = tmp_path_factory.mktemp("index") / "index", RunRecord("a run")
    rows = index_images(listing_of([*IMAGES, *OTHERS, *HIDDEN], HIDDEN), PARAMETERS, run)
    TableContract("image_index").validate(rows).write(f"file://{folder}", {})
    return pq.read_table(folder, partitioning=None).to_pylist(), run


def test_images_are_told_by_their_extension(indexed):
    rows, _ = indexed
    assert sorted(row["path"] for row in rows) == sorted(f"file:/root.d/fruit/{name}" for name in IMAGES)
    assert {(row["length"], row["modification_time"].astimezone(UTC)) for row in rows} == {(7, WHEN)}


def test_all_other_files_are_counted(indexed):
    ignored = count_ignored_files(*indexed)
    assert ignored == {**Counter(OTHERS.values()), "hidden": len(HIDDEN)}
    assert list(ignored) == sorted(ignored)


def test_every_file_is_an_image_or_counted_once(indexed):
    index, run = indexed
    assert len(index) + sum(count_ignored_files(index, run).values()) == len([*IMAGES, *OTHERS, *HIDDEN])


def test_a_listing_that_fails_counts_nothing(tmp_path):
    """It is done again, and what counts is the attempt that succeeds."""
    attempts = []

    def files(batches):
        attempts.append(batches)
        yield from listing_of(["a.txt", "b.txt", "c.txt", "d.jpg"]).function(batches)
        if len(attempts) == 1:
            raise OSError("by intent")

    run = RunRecord("a run")
    index = index_images(MappedRows(None, files, "raw_images"), PARAMETERS, run)
    (file,) = index.write(f"file://{tmp_path}", {}).values()
    assert len(attempts) == 2
    assert file["rows"] == 1
    assert count_ignored_files(index, run) == {"txt": 3}


def test_without_a_listing_nothing_is_known_of_other_files():
    with pytest.raises(InputError, match=r"kedro run --pipelines=ingestion"):
        count_ignored_files(None, RunRecord("a run"))


@pytest.mark.parametrize("names", [[], ["notes.txt"]])
def test_no_images_is_an_error_that_says_what_to_do(names, tmp_path):
    index = index_images(listing_of(names), PARAMETERS, RunRecord("a run"))
    with pytest.raises(InputError, match=r"No images found: there is no .*jpg.*--params=images=DIR"):
        index.write(f"file://{tmp_path}", {})


def test_extensions_are_taken_literally():
    extensions = ("jp.g", "c++")
    assert [kind_of(name, False, extensions) for name in ("a.JP.G", "a.c++", ".c++")] == [None] * 3
    assert [kind_of(name, False, extensions) for name in ("a.jpxg", "a.ccc", "c++")] == ["jpxg", "ccc", ""]
