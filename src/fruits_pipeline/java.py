"""Which Java there is, without starting Spark."""

import os
import shutil
import subprocess
from pathlib import Path

from fruits_pipeline.errors import InputError

JAVA_CURE = (
    "Install a JDK 17 or 21 (Debian/Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17) "
    "and set JAVA_HOME if `java` is not on the PATH."
)
_OLDEST_JAVA = 17


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
