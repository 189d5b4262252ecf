"""Hadoop's S3A for pip's Spark, which comes without: the jars, and the settings that they need.

On EMR both are there. Elsewhere a user sets spark.jars.packages=org.apache.hadoop:hadoop-aws:3.4.2; the tests take
older jars that the package index has, and with Hadoop 3.4 these lack some defaults.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SDIST = "sagemaker-pyspark==1.4.5"
"""Apache-2.0; 181 MB, fetched once."""

JARS = ("hadoop-aws-3.3.1.jar", "aws-java-sdk-bundle-1.11.901.jar")

_DEFAULTS_OF_HADOOP_34 = {
    "threads.keepalivetime": 60,
    "connection.timeout": 200000,
    "connection.establish.timeout": 5000,
    "connection.request.timeout": 0,
    "connection.ttl": 300000,
    "connection.idle.time": 60000,
    "multipart.purge.age": 86400,
    "socket.send.buffer": 8192,
}
"""Values that Hadoop 3.4 writes with units ("60s"), which the older jars cannot read."""


class S3AError(Exception):
    """The jars cannot be had."""


def s3a_jars() -> list[Path]:
    """The jars from a cache outside of the project, fetched if they are not there.

    Raises:
        S3AError: If they are not there and cannot be fetched.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fruits_pipeline-tests"
    jars = [cache / name for name in JARS]
    if not all(jar.is_file() for jar in jars):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _fetch(Path(folder), cache)
    return jars


def _fetch(folder: Path, cache: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", SDIST]
    done = subprocess.run([*download, f"--dest={folder}"], capture_output=True, text=True, check=False, timeout=500)
    if done.returncode:
        raise S3AError(f"pip download {SDIST}: {done.stderr.strip()[-300:]}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        for member in archive:
            if (name := Path(member.name).name) in JARS and (jar := archive.extractfile(member)):
                (folder / name).write_bytes(jar.read())
    for name in JARS:
        (folder / name).replace(cache / name)


def write_spark_conf(folder: Path, endpoint: str, **more: object) -> Path:
    """A SPARK_CONF_DIR whose spark-defaults.conf does for these tests what a cluster's does.

    Args:
        folder: Where to make it.
        endpoint: Of the S3 server.
        more: Further properties, with `__` for the dots.

    Returns:
        The folder to name in SPARK_CONF_DIR.
    """
    jars = os.pathsep.join(map(str, s3a_jars()))
    s3a = {
        "endpoint": endpoint,
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        "aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
        **_DEFAULTS_OF_HADOOP_34,
    }
    properties = {
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        **{f"spark.hadoop.fs.s3a.{name}": value for name, value in s3a.items()},
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} {value}\n" for name, value in properties.items()]
    (folder / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    return folder
