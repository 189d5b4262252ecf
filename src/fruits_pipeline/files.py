"""Local files that are written whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes beside the file and renames: whoever reads it sees the old or the new content.

    Args:
        path: Of the file; its folder is made if it is not there.
        content: All of it.

    Raises:
        OSError: If it cannot be written; then the old file is still there.
    """
    with unfinished_beside(path) as unfinished:
        unfinished.write_bytes(content)
        unfinished.replace(path)


@contextmanager
def unfinished_beside(path: Path) -> Iterator[Path]:
    """The path of a file to be written and then renamed to `path`; what is left of it at the end is removed.

    Its name is hidden, so that nobody who reads the folder takes it for a finished file, and its own, so that two
    processes may write the same file at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)
