"""The JVM's class-data archive: Spark's 16,000 classes parsed and verified once per machine, not once per run.

A local run spends most of its fixed time loading classes. `make setup` lets one small run write them to an archive
(https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html, dynamic archive) that later runs map into memory.
Without the archive everything works, some seconds slower; the JVM ignores one that does not fit its jars.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fruits_pipeline.java import find_java

WRITE_TO = "FRUITS_CLASS_ARCHIVE"
"""Environment variable: a run writes its classes to this file when its JVM ends."""

_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")  # the JVM names each class that it cannot archive


def archive_path(java: str) -> Path | None:
    """Where the archive of this Java and this PySpark belongs, inside the virtual environment.

    Args:
        java: Path of the `java` program.

    Returns:
        The path, whether or not there is a file; None without PySpark.
    """
    try:
        spark = version("pyspark")
    except PackageNotFoundError:
        return None
    home = Path(java).resolve().parent.parent
    release = home / "release"
    identity = f"{home} {release.read_text(errors='replace') if release.is_file() else ''}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return Path(sys.prefix) / "share" / "fruits_pipeline" / f"spark-{spark}-java-{digest}.jsa"


def options(java: str | None) -> list[str]:
    """Java options that use the archive, or that write one if `WRITE_TO` asks for it.

    Args:
        java: Path of the `java` program, or None.

    Returns:
        No options if there is no archive.
    """
    if os.environ.get(WRITE_TO):
        return [f'"-XX:ArchiveClassesAtExit={os.environ[WRITE_TO]}"', *_QUIET]
    archive = archive_path(java) if java else None
    return [f'"-XX:SharedArchiveFile={archive}"', *_QUIET] if archive and archive.is_file() else []


def make_archive(java: str) -> Path | None:
    """Lets a small run of the pipeline write the archive, unless there is one.

    Args:
        java: Path of the `java` program.

    Returns:
        The archive; None without PySpark.

    Raises:
        CalledProcessError: If the run fails.
        OSError: If the virtual environment may not be written to.
    """
    archive = archive_path(java)
    if archive is None or archive.is_file():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        unfinished = Path(folder) / archive.name
        _run_on_a_few_images(Path(folder), unfinished)
        unfinished.replace(archive)  # whole or not at all
    return archive


def _run_on_a_few_images(folder: Path, unfinished: Path) -> None:
    from fruits_pipeline.rendering.sample import write_images

    write_images(folder / "images", n_images=12, seed=1)
    parameters = f"images={folder / 'images'},output={folder / 'output'},encoder.weights=random:1"
    subprocess.run(
        [sys.executable, "-m", "kedro", "run", f"--params={parameters}"],
        env={**os.environ, WRITE_TO: str(unfinished)},
        check=True,
        capture_output=True,  # the JVM holds these pipes too: this waits until it has written the archive
    )


def main() -> None:
    """`python -m fruits_pipeline.class_archive`, a part of `make setup`: says what it did, and never fails."""
    java = find_java()
    try:
        archive = make_archive(java) if java else None
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"No class archive for Spark ({error}). Everything works without; runs start some seconds slower.")
    else:
        print(f"Class archive for Spark: {archive or 'not without Java'}")


if __name__ == "__main__":
    main()
