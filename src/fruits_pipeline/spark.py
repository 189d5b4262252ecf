"""Spark's settings and Java, without starting either.

Kedro's Spark datasets start the session at the first table that is read or written. They use
`SparkSession.builder.getOrCreate()`, so the settings of `conf/<env>/spark.yml` reach the JVM through
PYSPARK_SUBMIT_ARGS: commands that touch no table (`kedro viz`, `kedro registry list`) start no JVM.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fruits_pipeline.errors import InputError

JAVA_CURE = (
    "Install a JDK 17 or 21 (Debian/Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) "
    "and set JAVA_HOME if `java` is not on the PATH."
)
_OLDEST_JAVA = 17
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"


def configure(settings: Mapping[str, Any]) -> None:
    """Prepares the environment that a later session start reads. Does nothing under spark-submit.

    Args:
        settings: Spark properties, as in `conf/<env>/spark.yml`.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return  # started by spark-submit: its JVM is there already, with its own settings
    _use_utf8_file_names()
    java_options = f"{_quiet_logs()} {settings.get(_JAVA_OPTIONS, '')}".strip()
    settings = {**settings, _JAVA_OPTIONS: java_options}
    arguments = [part for key, value in settings.items() for part in ("--conf", f"{key}={_text(value)}")]
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])


def _quiet_logs() -> str:
    """Points the JVM to the project's log4j2 settings: Spark's errors reach Python as exceptions, once."""
    return f"-Dlog4j2.configurationFile={(files('fruits_pipeline') / 'log4j2.properties')}"


def _text(value: Any) -> str:
    """YAML's true is Spark's "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _use_utf8_file_names() -> None:
    """Lets the JVM see accents in file names: until Java 18 it takes their encoding from the locale."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    if "utf" not in locale.lower():
        os.environ["LC_ALL"] = "C.UTF-8"


def restore_interrupts() -> None:
    """Gives SIGINT back to Python.

    PySpark's handler cancels all jobs over the connection that the interrupted call is using; Py4J then fails with an
    error that no longer says that somebody pressed Ctrl-C.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def check_java() -> None:
    """Makes sure that Spark can start.

    Raises:
        InputError: If there is no Java, or one older than 17.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    java = find_java()
    if java is None:
        raise InputError(f"Spark needs Java, and none was found. {JAVA_CURE}")
    version = java_version(java)
    if version is not None and version < _OLDEST_JAVA:
        raise InputError(f"Spark 4 needs Java {_OLDEST_JAVA} or later; {java} is Java {version}. {JAVA_CURE}")


def find_java() -> str | None:
    """The `java` that Spark's launcher would run: JAVA_HOME's, else the PATH's."""
    home = os.environ.get("JAVA_HOME")
    if home:
        candidate = Path(home) / "bin" / "java"
        return str(candidate) if os.access(candidate, os.X_OK) else None
    return shutil.which("java")


def java_version(java: str) -> int | None:
    """Major version of a Java, from its `release` file where there is one (no JVM start), else from -version.

    Returns:
        The version; None if it cannot be told.
    """
    release = Path(java).resolve().parent.parent / "release"
    if release.is_file():
        text = release.read_text(encoding="utf-8", errors="replace").partition('JAVA_VERSION="')[2]
    else:
        output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        text = output.stderr.partition('version "')[2]
    major = text.removeprefix("1.").split(".")[0].split('"')[0]
    return int(major) if major.isdigit() else None
