"""Starting Spark's Java before PySpark is imported.

PySpark does the same in `pyspark.java_gateway.launch_gateway`, but only once it is imported itself, which takes a
quarter of a second, and it looks for Java's answer ten times a second.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fruits_pipeline.errors import InputError

_NOTICE = "WARNING: Using incubator modules"
"""Spark asks for a module that the JVM calls incubating: it would be the first line also of a run that is refused."""


@dataclass(frozen=True)
class LaunchedJava:
    """A Java that is coming up.

    Attributes:
        process: Java ends when its standard input is closed.
        folder: Where it says how to be reached.
    """

    process: subprocess.Popen[bytes]
    folder: Path

    def address(self) -> dict[str, str]:
        """Waits until Java is up.

        Returns:
            The environment variables by which `launch_gateway` finds it.

        Raises:
            OSError: If it has ended instead.
        """
        try:
            said = self.folder / "address"
            while not said.is_file() and self.process.poll() is None:
                time.sleep(0.01)
            content = said.read_bytes()  # written whole: PythonGatewayServer renames a finished file
        finally:
            shutil.rmtree(self.folder)
        port, length = struct.unpack_from("!ii", content)
        return {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": content[8 : 8 + length].decode()}


def launch_java() -> LaunchedJava:
    """Starts Java with the settings in PYSPARK_SUBMIT_ARGS, as PySpark would."""
    folder = Path(tempfile.mkdtemp())
    environment = {"SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(folder / "address")}
    process = subprocess.Popen(
        [str(spark_home() / "bin" / "spark-submit"), *shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"])],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        preexec_fn=_ignore_interrupts,
    )
    threading.Thread(target=_forward, args=(process,), name="java-stderr", daemon=True).start()
    return LaunchedJava(process, folder)


def spark_home() -> Path:
    """The folder of Spark, where PySpark finds it: SPARK_HOME, or its own."""
    if home := os.environ.get("SPARK_HOME"):
        return Path(home)
    package = find_spec("pyspark")
    if package is None or package.origin is None:
        raise InputError("PySpark is not installed. Install the project with it: pip install 'fruits_pipeline[spark]'.")
    return Path(package.origin).parent


def _ignore_interrupts() -> None:
    """Ctrl-C is for this process; it tells Java what to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _forward(process: subprocess.Popen[bytes]) -> None:
    """Hands on what Java says to its standard error, but for the line that each start begins with."""
    for line in process.stderr or ():
        text = line.decode(errors="replace")
        if not text.startswith(_NOTICE):
            sys.stderr.write(text)
            sys.stderr.flush()
