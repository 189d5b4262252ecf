"""Spark's settings, without starting it."""

import os
import shlex
import sys

import pytest

from fruits_pipeline import java, spark


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


def test_a_setting_without_a_value_is_left_to_spark():
    spark.configure({"spark.driver.host": None, "spark.driver.extraJavaOptions": None, "spark.app.name": "x"})
    arguments = os.environ["PYSPARK_SUBMIT_ARGS"]
    assert "spark.driver.host" not in arguments
    assert "None" not in arguments


def test_spark_submit_keeps_its_own_settings(monkeypatch):
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    spark.configure({"spark.app.name": "x"})
    assert "PYSPARK_SUBMIT_ARGS" not in os.environ
    java.check_java()  # its JVM runs already


@pytest.mark.parametrize(("locale", "expected"), [("C", "C.UTF-8"), ("fr_FR.UTF-8", None), ("en_US.utf8", None)])
def test_file_names_are_utf8_for_the_jvm(monkeypatch, locale, expected):
    monkeypatch.setenv("LANG", locale)
    monkeypatch.setenv("LC_CTYPE", "")
    spark.configure({})
    assert os.environ.get("LC_ALL") == expected
