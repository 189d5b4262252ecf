"""Spark's settings and Java, without starting either."""

import os
import shlex
import sys

import pytest

from fruits_pipeline import spark
from fruits_pipeline.errors import InputError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Each test may change the environment; afterwards it is as it was."""
    for name in ("PYSPARK_SUBMIT_ARGS", "PYSPARK_PYTHON", "PYSPARK_GATEWAY_PORT", "JAVA_HOME", "LC_ALL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_settings_reach_the_launcher():
    spark.configure({"spark.app.name": "a name with 'quotes'", "spark.ui.enabled": False, "spark.task.cpus": 2})
    words = shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"])
    assert words[-1] == "pyspark-shell"
    assert "spark.app.name=a name with 'quotes'" in words
    assert "spark.ui.enabled=false" in words
    assert "spark.task.cpus=2" in words
    assert os.environ["PYSPARK_PYTHON"] == sys.executable


def test_spark_submit_keeps_its_own_settings(monkeypatch):
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    spark.configure({"spark.app.name": "x"})
    assert "PYSPARK_SUBMIT_ARGS" not in os.environ
    spark.check_java()  # its JVM runs already


@pytest.mark.parametrize(("locale", "expected"), [("C", "C.UTF-8"), ("fr_FR.UTF-8", None), ("en_US.utf8", None)])
def test_file_names_are_utf8_for_the_jvm(monkeypatch, locale, expected):
    monkeypatch.setenv("LANG", locale)
    monkeypatch.setenv("LC_CTYPE", "")
    spark.configure({})
    assert os.environ.get("LC_ALL") == expected


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
    assert spark.java_version(str(jdk(tmp_path, release, output))) == version


def test_old_java_is_refused(tmp_path, monkeypatch):
    jdk(tmp_path, "1.8.0_412")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"Java 17 or later.*is Java 8"):
        spark.check_java()


def test_no_java_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="openjdk-17-jre-headless"):
        spark.check_java()


def test_a_java_home_without_java_is_no_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match="none was found"):
        spark.check_java()
