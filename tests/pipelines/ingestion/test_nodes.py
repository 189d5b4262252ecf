"""Which files are images: by their names, in any case, and every other file is counted."""

import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import IngestionParameters
from fruits_pipeline.pipelines.ingestion.nodes import extension_pattern, index_images
from fruits_pipeline.schemas import COLUMNS, struct_type

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


@pytest.fixture(scope="module")
def indexed(spark):
    visible = [(f"file:/root.d/fruit/{name}", 7, WHEN, False) for name in [*IMAGES, *OTHERS]]
    hidden = [(f"file:/root.d/fruit/{name}", 7, WHEN, True) for name in HIDDEN]
    files = spark.createDataFrame([*visible, *hidden], struct_type("raw_images"))
    return index_images(files, PARAMETERS)


def test_images_are_told_by_their_extension(indexed):
    index, _ = indexed
    assert dict(index.dtypes) == COLUMNS["image_index"]
    rows = index.collect()
    assert sorted(row["path"] for row in rows) == sorted(f"file:/root.d/fruit/{name}" for name in IMAGES)
    assert {(row["length"], row["modification_time"].astimezone(UTC)) for row in rows} == {(7, WHEN)}


def test_all_other_files_are_counted(indexed):
    _, ignored = indexed
    assert ignored == {**Counter(OTHERS.values()), "hidden": len(HIDDEN)}
    assert list(ignored) == sorted(ignored)


@pytest.mark.parametrize("files", [[], ["file:/root/fruit/notes.txt"]])
def test_no_images_is_an_error_that_says_what_to_do(spark, files):
    listing = spark.createDataFrame([(path, 7, WHEN, False) for path in files], struct_type("raw_images"))
    with pytest.raises(InputError, match=r"No images found: there is no .*jpg.*--params=images=DIR"):
        index_images(listing, PARAMETERS)


def test_the_pattern_takes_extensions_literally():
    pattern = extension_pattern(("jp.g", "c++"))
    java_only_in_spelling = pattern.replace(r"\z", r"\Z")
    assert re.search(java_only_in_spelling, "a.JP.G")
    assert re.search(java_only_in_spelling, "a.c++")
    assert not re.search(java_only_in_spelling, "a.jpxg")
    assert not re.search(java_only_in_spelling, "a.ccc")
