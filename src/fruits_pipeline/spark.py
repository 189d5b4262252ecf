"""Spark's settings, and its start.

Kedro's Spark datasets start the session at the first table that is read or written. They use
`SparkSession.builder.getOrCreate()`, so the settings of `conf/<env>/spark.yml` reach the JVM through
PYSPARK_SUBMIT_ARGS: commands that touch no table (`kedro viz`, `kedro registry list`) start no JVM.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any

from fruits_pipeline import class_archive, workers
from fruits_pipeline.errors import InputError
from fruits_pipeline.java import check_java, find_java
from fruits_pipeline.java_start import LaunchedJava, launch_java

_JAVA_OPTIONS = "spark.driver.extraJavaOptions"

_DAEMON = "spark.python.daemon.module"

_EXTENSIONS = "spark.sql.extensions.test.loadFromCp"

_run_is_coming = threading.Event()

_is_submitted = False
"""Whether spark-submit has started this process, with a Java of its own."""


def configure(settings: Mapping[str, Any]) -> None:
    """Prepares the environment that a later session start reads. Does nothing under spark-submit.

    Args:
        settings: Spark properties, as in `conf/<env>/spark.yml`; those without a value are left to Spark.
    """
    global _is_submitted
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    _is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if _is_submitted:
        return  # started by spark-submit: its JVM is there already, with its own settings
    _use_utf8_file_names()
    settings = {key: value for key, value in settings.items() if value is not None}
    if sys.platform != "linux":  # macOS's own BLAS, which NumPy uses there, may crash in a process that was forked
        settings.pop(_DAEMON, None)
    if not _run_is_coming.is_set():  # a notebook may want MLlib's functions
        settings.pop(_EXTENSIONS, None)
    java_options = [_quiet_logs(), *class_archive.options(find_java()), str(settings.get(_JAVA_OPTIONS, ""))]
    settings = {**settings, _JAVA_OPTIONS: " ".join(java_options).strip()}
    arguments = [part for key, value in settings.items() for part in ("--conf", f"{key}={_text(value)}")]
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])
    if _run_is_coming.is_set():
        _launch_jvm()


@contextmanager
def run_is_coming() -> Iterator[None]:
    """Lets `configure` start Java at once, because pipelines will run.

    Java takes most of a second to come up, in which Kedro makes the catalog. Commands that only look at the project
    (`kedro viz`, `kedro catalog list`) configure Spark, too, and start none.
    """
    _run_is_coming.set()
    try:
        yield
    finally:
        _run_is_coming.clear()


def _launch_jvm() -> None:
    """Starts Java, without Spark in it: a run that is refused now ends it without a word."""
    with suppress(InputError, OSError):  # without a usable Java or Spark, whoever needs them says so
        check_java()
        java = None if _has_java() else launch_java()  # before PySpark's import, a quarter of a second
        _import_pyspark()
        if java:  # no daemon: a process that ends now waits for Java to be up, or a folder would stay in /tmp
            threading.Thread(target=_connect, args=(java,), name="java-start").start()


def _has_java() -> bool:
    """Whether there is a Java for this process, or one is coming: a process may run several pipelines."""
    if "java-start" in {thread.name for thread in threading.enumerate()}:
        return True
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.SparkContext._gateway is not None


def _connect(java: LaunchedJava) -> None:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    # PySpark's own lock: whoever needs Spark in the meantime waits for this Java, and starts none. A failure here is
    # met and reported there.
    with suppress(Exception), SparkContext._lock:
        where = java.address()
        if SparkContext._gateway is None:
            with _environment(where):
                gateway = launch_gateway()
            gateway.proc = java.process  # PySpark's own place for it; its standard input is what keeps Java alive
            SparkContext._ensure_initialized(gateway=gateway)
        elif java.process.stdin:  # somebody was faster
            java.process.stdin.close()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def _import_pyspark() -> None:
    """Imports PySpark in the main thread: two that do it at once would meet in its circular imports."""
    import pyspark.sql.functions  # noqa: F401


def _quiet_logs() -> str:
    """Points the JVM to the project's log4j2 settings: Spark's errors reach Python as exceptions, once."""
    return f'"-Dlog4j2.configurationFile={(files("fruits_pipeline") / "log4j2.properties")}"'


def _text(value: Any) -> str:
    """YAML's true is Spark's "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _use_utf8_file_names() -> None:
    """Lets the JVM see accents in file names: until Java 18 it takes their encoding from the locale."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    if "utf" not in locale.lower():
        os.environ["LC_ALL"] = "C.UTF-8"


def start_in_background(meanwhile: Callable[[], None] | None = None) -> None:
    """Starts Spark, and on a local master its Python workers, while Kedro prepares the first node.

    Call it after `configure`. Does nothing without Java, or where spark-submit has started Spark.

    The first dataset that wants a session waits for this one. A failure here is no failure yet: whoever needs Spark
    meets the same one and reports it.

    Args:
        meanwhile: What else must be done some time, by this process, which only waits for Java now.
    """
    _import_pyspark()
    if find_java() and not _is_submitted:
        threading.Thread(target=_start, name="spark-start", daemon=True).start()
        if meanwhile:
            threading.Thread(target=meanwhile, name="meanwhile", daemon=True).start()


def _start() -> None:
    from pyspark.sql import SparkSession

    with suppress(Exception), _turns_of(0.0005):
        session = SparkSession.builder.getOrCreate()
        if str(session.sparkContext.master).startswith("local"):
            # One task: the others' workers are forked from the same parent later, and a core is left for Spark itself.
            session.range(0, 1, numPartitions=1).mapInArrow(workers.prepare, session.range(0).schema).collect()


@contextmanager
def _turns_of(seconds: float) -> Iterator[None]:
    """Lets threads take turns at Python's global lock more often.

    Py4J makes hundreds of calls while Spark starts, and after each one it waits for a thread that is busy with imports
    to let go of the lock: 5 ms as Python has it.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def restore_interrupts() -> None:
    """Gives SIGINT back to Python.

    PySpark's handler cancels all jobs over the connection that the interrupted call is using; Py4J then fails with an
    error that no longer says that somebody pressed Ctrl-C.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
