"""Which Java there is, and whether it will do."""

import pytest

from fruits_pipeline.errors import InputError
from fruits_pipeline.java import check_java, java_version


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Each test may change the environment; afterwards it is as it was."""
    for name in ("PYSPARK_SUBMIT_ARGS", "PYSPARK_PYTHON", "PYSPARK_GATEWAY_PORT", "JAVA_HOME", "LC_ALL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def jdk(folder, release: str | None, output: str = ""):
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{output}' >&2\n")
    java.chmod(0o755)
    if release:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{release}"\n')
    return java


@pytest.mark.parametrize(
    ("release", "output", "version"),
    [
        ("17.0.15", "", 17),
        ("21", "", 21),
        ("1.8.0_412", "", 8),
        (None, 'openjdk version "11.0.2" 2019-01-15', 11),
        (None, "not a version", None),
    ],
)
def test_java_version(tmp_path, release, output, version):
    assert java_version(str(jdk(tmp_path, release, output))) == version


def test_old_java_is_refused(tmp_path, monkeypatch):
    jdk(tmp_path, "1.8.0_412")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"Java 17 or later.*is Java 8"):
        check_java()


def test_no_java_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="openjdk-17-jre-headless"):
        check_java()


def test_a_java_home_without_java_is_no_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match="none was found"):
        check_java()
