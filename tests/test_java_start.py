"""Spark's Java, started before PySpark is imported: where it is, what it says, and that it cleans up."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from fruits_pipeline import java_start
from fruits_pipeline.java_start import LaunchedJava, launch_java, spark_home


def process_of(code: str, **more) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, **more)


def ended(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    process.stdin.close()
    process.wait()
    return process


def test_spark_is_where_pyspark_finds_it(monkeypatch):
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")
    assert spark_home() == Path("/opt/spark")
    monkeypatch.delenv("SPARK_HOME")
    assert spark_home() == Path(pyspark.__file__).parent


def test_pyspark_is_found_without_being_imported():
    code = (
        "import sys; from fruits_pipeline.java_start import spark_home; print(spark_home(), 'pyspark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(Path(pyspark.__file__).parent), "False"]


def test_the_address_is_read_when_java_has_written_it(tmp_path):
    folder = tmp_path / "said"
    folder.mkdir()
    said = struct.pack("!ii", 40123, 6) + b"secret"
    code = f"""
import os, sys, time
time.sleep(0.3)
with open({str(folder / "other")!r}, "wb") as file: file.write({said!r})
os.rename({str(folder / "other")!r}, {str(folder / "address")!r})
sys.stdin.read()
"""
    process = process_of(code)
    address = LaunchedJava(process, folder).address()
    assert address == {"PYSPARK_GATEWAY_PORT": "40123", "PYSPARK_GATEWAY_SECRET": "secret"}
    assert process.poll() is None  # it lives until its standard input is closed
    assert not folder.exists()
    ended(process)


def test_a_java_that_ends_is_no_address_and_leaves_nothing(tmp_path):
    folder = tmp_path / "said"
    folder.mkdir()
    with pytest.raises(OSError, match="address"):
        LaunchedJava(ended(process_of("")), folder).address()
    assert not folder.exists()


def test_what_java_says_comes_out_but_for_the_notice_of_each_start(monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    said = b"WARNING: Using incubator modules: jdk.incubator.vector\nNo space left \xe9\n"
    code = f"import sys; sys.stderr.buffer.write({said!r})"
    process = ended(process_of(code, stderr=subprocess.PIPE))
    java_start._forward(process)
    process.stderr.close()
    assert heard.getvalue() == "No space left �\n"


def test_settings_and_the_way_back_reach_the_launcher(monkeypatch, tmp_path):
    """With a Spark of our own that says what it was asked."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "spark-submit"
    script.write_text(
        '#!/bin/sh\nprintf "\\000\\000\\000\\001\\000\\000\\000\\002ok" > "$_PYSPARK_DRIVER_CONN_INFO_PATH"\n'
        f'echo "$SPARK_CONNECT_MODE" "$@" > {tmp_path}/asked\ncat\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--conf 'spark.app.name=a b' pyspark-shell")
    java = launch_java()
    assert java.address() == {"PYSPARK_GATEWAY_PORT": "1", "PYSPARK_GATEWAY_SECRET": "ok"}
    ended(java.process)
    java.process.stderr.close()
    assert (tmp_path / "asked").read_text() == "0 --conf spark.app.name=a b pyspark-shell\n"
