"""What the parent of all workers leaves out of their path."""

import zipfile
from pathlib import Path

import pytest

from fruits_pipeline.workers.daemon import without_archives


def archive(path: Path, **versions: str) -> str:
    with zipfile.ZipFile(path, "w") as file:
        for package, version in versions.items():
            file.writestr(f"{package}/version.py", f'__version__ = "{version}"\n')
        file.writestr("other/module.py", "")
    return str(path)


@pytest.fixture
def installed(tmp_path) -> str:
    """A folder in which a PySpark is installed."""
    package = tmp_path / "site é" / "pyspark"
    package.mkdir(parents=True)
    (package / "version.py").write_text('__version__ = "4.1.1"\n')
    return str(package.parent)


@pytest.mark.parametrize(
    ("versions", "stays"),
    [
        ({"pyspark": "4.1.1"}, False),
        ({"pyspark": "4.1.1-amzn-0"}, True),  # another one: Spark knows which it needs
        ({"py4j": "0.10.9.9"}, True),  # not installed
        ({}, True),  # somebody's own modules
    ],
)
def test_archives_of_what_is_installed_are_left_out(tmp_path, installed, versions, stays):
    path = archive(tmp_path / "some archive.zip", **versions)
    assert without_archives([path, "/no/such", installed]) == [*([path] if stays else []), "/no/such", installed]


@pytest.mark.parametrize(
    ("name", "stays"),
    [("spark-core_2.13-4.1.1.jar", False), ("spark-core_2.13-4.0.1-amzn-0.jar", False), ("x.jar", True)],
)
def test_the_java_archive_of_spark_is_left_out(tmp_path, installed, name, stays):
    jar = archive(tmp_path / name)
    assert without_archives([jar, installed]) == [*([jar] if stays else []), installed]


def test_the_installed_package_that_would_be_imported_counts(tmp_path, installed):
    newer = tmp_path / "newer" / "pyspark"
    newer.mkdir(parents=True)
    (newer / "version.py").write_text('__version__ = "5"\n')
    path = archive(tmp_path / "pyspark.zip", pyspark="4.1.1")
    assert without_archives([path, str(newer.parent), installed]) == [path, str(newer.parent), installed]


def test_without_an_installed_package_the_archive_stays(tmp_path):
    path = archive(tmp_path / "pyspark.zip", pyspark="4.1.1")
    assert without_archives([path, "", str(tmp_path)]) == [path, "", str(tmp_path)]


def test_what_is_no_archive_is_left_to_python(tmp_path, installed):
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    path = [str(tmp_path / "broken.zip"), str(tmp_path / "missing.zip"), installed]
    assert without_archives(path) == path
