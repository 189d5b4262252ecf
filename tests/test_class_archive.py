"""The archive of Spark's classes: where it is, when it is used, and that the JVM takes it."""

import subprocess
import sys

import pytest

from fruits_pipeline import class_archive
from fruits_pipeline.java import find_java


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """A virtual environment that has no archive yet, in a folder with a blank in its name."""
    prefix = tmp_path / "my venv"
    prefix.mkdir()
    monkeypatch.setattr(class_archive.sys, "prefix", str(prefix))
    monkeypatch.delenv(class_archive.WRITE_TO, raising=False)
    return prefix


def jdk(folder, version: str) -> str:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.touch()
    (folder / "release").write_text(f'JAVA_VERSION="{version}"')
    return str(java)


def test_without_an_archive_there_are_no_options(venv, tmp_path):
    assert class_archive.options(jdk(tmp_path, "17.0.15")) == []
    assert class_archive.options(None) == []


def test_another_java_has_another_archive(venv, tmp_path):
    java = jdk(tmp_path, "17.0.15")
    first = class_archive.archive_path(java)
    assert first == class_archive.archive_path(java)
    assert first.is_relative_to(venv)
    jdk(tmp_path, "17.0.16")
    assert class_archive.archive_path(java) != first


def test_the_archive_is_used_when_it_is_there(venv, tmp_path):
    java = jdk(tmp_path, "17.0.15")
    archive = class_archive.archive_path(java)
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert f'"-XX:SharedArchiveFile={archive}"' in class_archive.options(java)


def test_a_run_that_writes_the_archive_does_not_use_one(venv, tmp_path, monkeypatch):
    monkeypatch.setenv(class_archive.WRITE_TO, "/a b/new.jsa")
    options = class_archive.options(jdk(tmp_path, "17.0.15"))
    assert '"-XX:ArchiveClassesAtExit=/a b/new.jsa"' in options
    assert not any("SharedArchiveFile" in option for option in options)


def test_the_archive_appears_whole_or_not_at_all(venv, monkeypatch):
    def killed(folder, unfinished):
        unfinished.write_bytes(b"half")
        raise subprocess.CalledProcessError(-9, "kedro")

    monkeypatch.setattr(class_archive, "_run_on_a_few_images", killed)
    java = find_java()
    with pytest.raises(subprocess.CalledProcessError):
        class_archive.make_archive(java)
    assert not class_archive.archive_path(java).exists()
    assert list(class_archive.archive_path(java).parent.iterdir()) == []


def test_set_up_goes_on_without_an_archive(venv, monkeypatch, capsys):
    def refused(java):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(class_archive, "make_archive", refused)
    class_archive.main()
    assert "Everything works without" in capsys.readouterr().out


@pytest.mark.slow
def test_spark_loads_its_classes_from_this_environments_archive(tmp_path):
    if not class_archive.archive_path(find_java()).is_file():
        pytest.skip("no archive in this environment; make one: python -m fruits_pipeline.class_archive")
    log = tmp_path / "classes.log"
    code = (
        "from fruits_pipeline import spark; "
        f"spark.configure({{'spark.driver.extraJavaOptions': '-Xlog:class+load:file={log}'}}); "
        "from pyspark.sql import SparkSession; print(SparkSession.builder.getOrCreate().range(5).count())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "5"
    loaded = [line for line in log.read_text().splitlines() if " org.apache.spark." in line and "Lambda" not in line]
    shared = [line for line in loaded if "shared objects file (top)" in line]
    assert len(shared) > 0.8 * len(loaded) > 1000
