"""The label is the name of a folder above the file, whatever the names are."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from fruits_pipeline.parameters import LabelingParameters
from fruits_pipeline.pipelines.labeling.nodes import label_images, label_of
from fruits_pipeline.schemas import COLUMNS, struct_type

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


def drawn(strategy: st.SearchStrategy[str], n: int) -> list[str]:
    """Many examples at once: one Spark job checks them all."""
    found: list[str] = []

    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.generate],
    )
    @given(strategy)
    def collect(value: str) -> None:
        found.append(value)

    collect()
    return found


def labels(spark, values: list[str], *levels: int) -> list[tuple[str | None, ...]]:
    frame = spark.createDataFrame([(i, path) for i, path in enumerate(values)], "i int, path string")
    columns = [label_of(F.col("path"), level).alias(str(level)) for level in levels]
    return [tuple(row)[1:] for row in sorted(frame.select("i", *columns).collect())]


def test_labels_of_any_names_are_those_of_pathlib(spark):
    values = drawn(paths, 400)
    found = labels(spark, values, 1, 2)
    for path, (label, above) in zip(values, found, strict=True):
        parts = PurePosixPath(path.replace("s3://", "s3:/"))
        assert label == parts.parent.name, path
        assert above == parts.parent.parent.name, path
    assert len(set(found)) > 200


def test_awkward_labels(spark):
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
    assert labels(spark, [f"file:/root/{name}/1.jpg" for name in expected], 1) == [(name,) for name in expected]


def test_a_path_that_is_not_that_deep_has_no_label(spark):
    assert labels(spark, ["file:/a/1.jpg"], 1, 3, 32) == [("a", None, None)]


def test_the_scheme_is_no_folder(spark):
    assert labels(spark, ["file:/1.jpg", "s3://bucket/a/1.jpg"], 1, 4) == [(None, None), ("a", None)]


def test_label_images_adds_one_column(spark):
    rows = [("file:/x/Apple/1.jpg", 1, WHEN), ("file:/x/Pear/2.jpg", 2, WHEN)]
    index = spark.createDataFrame(rows, struct_type("image_index"))
    labeled = label_images(index, LabelingParameters(folder_level=1))
    assert dict(labeled.dtypes) == COLUMNS["labeled_images"]
    assert [(row["path"], row["length"], row["label"]) for row in sorted(labeled.collect())] == [
        ("file:/x/Apple/1.jpg", 1, "Apple"),
        ("file:/x/Pear/2.jpg", 2, "Pear"),
    ]
    above = label_images(index, LabelingParameters(folder_level=2))
    assert {row["label"] for row in above.collect()} == {"x"}
