"""Small files, local or in a bucket, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from kedro.io.core import get_protocol_and_path


def open_store(filepath: str) -> tuple[Any, str]:
    """The filesystem of a path, and the path as this filesystem takes it."""
    protocol, path = get_protocol_and_path(filepath)
    return fsspec.filesystem("s3" if protocol == "s3a" else protocol, use_listings_cache=False), path


def write_whole(fs: Any, path: str, content: bytes) -> None:
    """Writes a file whole or not at all: object stores do, and on a disk the last step is a rename beside it."""
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(path, content)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(f"{path}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
