"""`python bootstrap/archive.py TARGET.tar.gz PATH…`, a part of `make package`: packs files of the project.

What git ignores stays here (keys, results, caches), and so does conf/local, which is one person's own. `kedro package`
would take all of conf/local but its *.yml. The same files make the same bytes, whoever packs them and whenever.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def project_files(project: Path, paths: Sequence[str]) -> list[str]:
    """Names of the files below some paths, relative to the project and in order; new and changed ones too."""
    command = ["git", "-C", str(project), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    listed = subprocess.run([*command, *paths, ":(exclude)conf/local"], check=True, capture_output=True, text=True)
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (project / name).is_file())


def write_archive(target: Path, project: Path, names: Iterable[str]) -> None:
    """Writes a .tar.gz that says nothing of its time, its machine and its owner."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in names:
            content = (project / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]), PROJECT, project_files(PROJECT, sys.argv[2:]))
