"""Spark's settings, without starting it; and how it starts, in processes of their own."""

import os
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from fruits_pipeline import java, spark

SETTINGS = Path(__file__).resolve().parents[1] / "conf" / "base" / "spark.yml"


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


@pytest.mark.parametrize(("platform", "is_used"), [("linux", True), ("darwin", False)])
def test_workers_inherit_imports_only_where_that_is_safe(monkeypatch, platform, is_used):
    monkeypatch.setattr(sys, "platform", platform)
    spark.configure(yaml.safe_load(SETTINGS.read_text()))
    assert ("spark.python.daemon.module=" in os.environ["PYSPARK_SUBMIT_ARGS"]) is is_used


@pytest.mark.parametrize("is_run", [True, False])
def test_runs_alone_do_without_the_functions_of_mllib(monkeypatch, is_run):
    monkeypatch.setattr(spark, "_launch_jvm", lambda: None)
    with spark.run_is_coming() if is_run else nullcontext():
        spark.configure(yaml.safe_load(SETTINGS.read_text()))
    assert ("spark.sql.extensions.test.loadFromCp=false" in os.environ["PYSPARK_SUBMIT_ARGS"]) is is_run


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


def run_code(code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code that finds the project's settings of Spark in `settings`."""
    begin = f"import yaml; from fruits_pipeline import spark; settings = yaml.safe_load(open({str(SETTINGS)!r}))\n"
    return subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=120, check=True)


JAVA_ONLY = """
import os, subprocess, threading
from pyspark import SparkContext
def starts():
    return [thread for thread in threading.enumerate() if thread.name == "java-start"]
spark.configure(settings)
print(starts())
with spark.run_is_coming():
    spark.configure(settings)
SparkContext._ensure_initialized()  # somebody needs it at the same time
for start in starts():
    start.join()
print(SparkContext._gateway.jvm.java.lang.Math.abs(-5), SparkContext._active_spark_context)
with spark.run_is_coming():
    spark.configure(settings)  # a second run of the same process
for start in starts():
    start.join()
print(subprocess.check_output(["pgrep", "-cP", str(os.getpid())], text=True).strip())
"""


@pytest.mark.slow
def test_java_starts_early_for_a_run_and_for_nothing_else():
    done = run_code(JAVA_ONLY)
    assert done.stdout.split() == ["[]", "5", "None", "1"]
    assert done.stderr == ""


IMPORTED = """
spark.configure(settings)
from pyspark import SparkContext
def imported(_):
    import sys
    return [[name in sys.modules for name in ("pyarrow", "fruits_pipeline.workers.featurization", "kedro", "pandas")]]
print(SparkContext.getOrCreate().parallelize(range(2), 2).mapPartitions(imported).collect())
"""


@pytest.mark.slow
def test_workers_begin_with_all_imports_done():
    """Asked by a function that needs none of them: their common parent has done the imports."""
    assert run_code(IMPORTED).stdout.strip() == str([[True, True, False, False]] * 2)


NULLS = """
spark.configure(settings)
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf
session = SparkSession.builder.getOrCreate()
def nulls(_):
    import math, pandas, pyarrow
    return [pyarrow.array(pandas.Series([1.0, math.nan])).null_count]
twice = pandas_udf(lambda values: values * 2, "long")
print(session.sparkContext.parallelize(range(2), 2).mapPartitions(nulls).collect())
print([row[0] for row in session.range(3).select(twice("id")).collect()])
"""


@pytest.mark.slow
def test_functions_of_workers_may_use_pandas():
    """Its parent has hidden pandas from PyArrow; whoever imports it must not notice."""
    assert run_code(NULLS).stdout.splitlines() == ["[1, 1]", "[0, 2, 4]"]


FROM_ARCHIVES = """
spark.configure(settings)
from pyspark import SparkContext
def from_archives(_):
    import sys, zipimport
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    archives = [path for path, reader in sys.path_importer_cache.items() if isinstance(reader, zipimport.zipimporter)]
    paths = [*files, *sys.path, *sys.path_importer_cache]
    return archives + [path for path in paths if "pyspark.zip" in path or "-src.zip" in path]
print(SparkContext.getOrCreate().parallelize(range(2), 2).mapPartitions(from_archives).collect())
"""


@pytest.mark.slow
def test_workers_import_nothing_from_archives():
    """They would read the directory of each again before every task: 0.1 s for PySpark's, as long for Spark's jar."""
    assert run_code(FROM_ARCHIVES).stdout.strip() == "[]"
