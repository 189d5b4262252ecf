"""The label is the name of a folder above the file, whatever the names are."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fruits_pipeline.contracts import TableContract
from fruits_pipeline.parameters import LabelingParameters
from fruits_pipeline.pipelines.labeling.nodes import label_images
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers.listing import label_of
from fruits_pipeline.workers.writing import MappedRows

WHEN = datetime(2026, 11, 21, tzinfo=UTC)

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
"""What a file system and S3 allow: anything but a slash and NUL."""

paths = st.builds(
    lambda root, folders, file: "/".join([root, *folders, file]),
    st.sampled_from(["file:", "s3://bucket", "file:/a b", "s3://a.b-c/é#1"]),
    st.lists(names, min_size=2, max_size=4),
    names,
)


def labels(values: list[str], *levels: int) -> list[tuple[str | None, ...]]:
    return [tuple(label_of(path, level) for level in levels) for path in values]


@settings(max_examples=400, deadline=None, database=None)
@given(paths)
def test_labels_of_any_names_are_those_of_pathlib(path):
    parts = PurePosixPath(path.replace("s3://", "s3:/"))
    assert labels([path], 1, 2) == [(parts.parent.name, parts.parent.parent.name)]


def test_awkward_labels():
    expected = [
        "a b",
        "é",
        "a%20b",
        "a#b",
        "[x]",
        "a.b",
        "+",
        "\\",
        "$1",
        "\n",
        "🍎",
        "a?b",
        "a*b",
        "{a,b}",
        " ",
        "null",
    ]
    assert labels([f"file:/root/{name}/1.jpg" for name in expected], 1) == [(name,) for name in expected]


def test_a_path_that_is_not_that_deep_has_no_label():
    assert labels(["file:/a/1.jpg"], 1, 3, 32) == [("a", None, None)]


def test_the_scheme_is_no_folder():
    assert labels(["file:/1.jpg", "s3://bucket/a/1.jpg"], 1, 4) == [(None, None), ("a", None)]


def test_label_images_adds_one_column():
    rows = [("file:/x/Apple/1.jpg", 1, WHEN), ("file:/x/Pear/2.jpg", 2, WHEN)]
    schema = arrow_schema("image_index")
    batches = [pa.RecordBatch.from_pylist([dict(zip(schema.names, row, strict=True))], schema) for row in rows]
    index = MappedRows(None, lambda _: iter(batches), "image_index")

    def labeled(level: int) -> list[dict]:
        checked = TableContract("labeled_images").validate(label_images(index, LabelingParameters(folder_level=level)))
        found = list(checked.function([]))
        assert all(batch.schema == arrow_schema("labeled_images") for batch in found)
        return [row for batch in found for row in batch.to_pylist()]

    assert labeled(1) == [
        {"path": "file:/x/Apple/1.jpg", "length": 1, "modification_time": WHEN, "label": "Apple"},
        {"path": "file:/x/Pear/2.jpg", "length": 2, "modification_time": WHEN, "label": "Pear"},
    ]
    assert [row["label"] for row in labeled(2)] == ["x", "x"]
