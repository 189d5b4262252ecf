"""Local files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes beside the file and renames: whoever reads it sees the old or the new content.

    Args:
        path: Of the file; its folder is made if it is not there.
        content: All of it.

    Raises:
        OSError: If it cannot be written; then the old file is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
