"""Small files, local or in a bucket, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from kedro.io.core import get_protocol_and_path

from fruits_pipeline.files import replace_file


def open_store(filepath: str) -> tuple[Any, str]:
    """The filesystem of a path, and the path as this filesystem takes it."""
    protocol, path = get_protocol_and_path(filepath)
    return fsspec.filesystem("s3" if protocol == "s3a" else protocol, use_listings_cache=False), path


def write_whole(fs: Any, path: str, content: bytes) -> None:
    """Writes a file whole or not at all: object stores do so by themselves."""
    if isinstance(fs, LocalFileSystem):
        replace_file(Path(path), content)
    else:
        fs.pipe_file(path, content)
