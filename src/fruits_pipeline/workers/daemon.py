"""The process from which Spark forks its Python workers: it imports what they need, once for all of them.

PySpark's own daemon (`spark.python.daemon.module`) leaves that to each worker: most of a second of every core, and
memory that they could share.
"""

import gc
import sys
import zipimport
from pathlib import Path
from typing import Final

from fruits_pipeline.workers import prepare

_ARCHIVED: Final = ("pyspark/version.py", "py4j/version.py")
"""What an archive of PySpark, or of Py4J, is known by; Spark puts both in front of the path of its workers."""

_SPARK_ITSELF: Final = "spark-core_*.jar"
"""Spark's own Java archive, which it puts there, too (PythonUtils.sparkPythonPath); no Python is in it."""


def without_archives(path: list[str]) -> list[str]:
    """Leaves out Spark's own Java archive, and its archives of packages that are installed, too, in the same version.

    An archive has no compiled modules: importing PySpark from it takes 0.9 s longer (measured). And PySpark lets Python
    forget before every task what it knows of its path, so that the directory of each archive is read again each time:
    0.1 s a task for the 1,300 files of PySpark, as long for the 5,300 of Spark.

    Args:
        path: As `sys.path`.

    Returns:
        The path without them; as it was where the archives are the only source of a package.
    """
    folders = [Path(entry) for entry in path if not entry.endswith(".zip")]
    return [
        entry
        for entry in path
        if not (Path(entry).match(_SPARK_ITSELF) or (entry.endswith(".zip") and _is_installed(entry, folders)))
    ]


def _is_installed(archive: str, folders: list[Path]) -> bool:
    """Whether the version in an archive is also that of the installed package, the one that would be imported."""
    for name in _ARCHIVED:
        version = _read(archive, name)
        if version is not None:
            found = next((folder / name for folder in folders if (folder / name).is_file()), None)
            return found is not None and found.read_bytes() == version
    return False


def _read(archive: str, name: str) -> bytes | None:
    """A file of an archive; None if that is not there, or is none."""
    try:
        return zipimport.zipimporter(archive).get_data(name)
    except (zipimport.ZipImportError, OSError):
        return None


if __name__ == "__main__":
    sys.path[:] = without_archives(sys.path)
    sys.path_importer_cache.clear()  # it would go on reading what has left the path

    from pyspark.daemon import manager

    from fruits_pipeline.workers.late_pandas import hide_pandas

    hide_pandas()
    list(prepare(()))
    gc.freeze()  # workers look for garbage after every task; what they share from now on is none
    manager()
