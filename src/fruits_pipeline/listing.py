"""Lists the files below a folder, page by page: local folders, S3 buckets, and whatever else fsspec knows.

Spark's own listing leaves out empty files and names that begin with an underscore, and reads brackets in folder names
as patterns. Here every file is listed, because every file must be accounted for.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fruits_pipeline.errors import InputError
from fruits_pipeline.s3 import PROTOCOLS, list_objects

PAGE = 1000
"""Files per page: what S3 returns for one request."""


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        path: `file:/…` or `s3://bucket/key`, never percent-encoded.
        length: Bytes.
        modification_time: With time zone UTC, to the microsecond.
        hidden: Whether its name, or a folder between the root and it, begins with a dot.
    """

    path: str
    length: int
    modification_time: datetime
    hidden: bool


def list_files(root: str) -> Iterator[list[File]]:
    """Lists all files below a folder, in pages that are forgotten once they are consumed.

    Args:
        root: A local path, `file:…`, `s3://bucket/prefix`, or another URL that fsspec knows.

    Yields:
        Lists of at most 1000 files, in an order that depends on the storage.

    Raises:
        OSError: If a folder cannot be read: its images would be lost silently.
        InputError: If S3 refuses: credentials, permissions, no such bucket.
    """
    protocol, separator, rest = root.partition("://")
    if separator and protocol in PROTOCOLS:
        files = _s3(*_bucket_and_prefix(rest))
    elif not rest or protocol == "file":
        files = _local(Path(rest or root.removeprefix("file:")))
    else:
        files = _fsspec(protocol, rest)
    while page := list(itertools.islice(files, PAGE)):
        yield page


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


def _local(root: Path) -> Iterator[File]:
    """Walks a local folder, links to folders included, each folder once."""
    seen: set[tuple[int, int]] = set()
    pending = [(str(root), False)]
    while pending:
        folder, hidden = pending.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue  # a link that leads back up
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                is_hidden = hidden or entry.name.startswith(".")
                if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    pending.append((entry.path, is_hidden))
                elif _is_file(entry):
                    yield _local_file(entry, is_hidden)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or a broken link to one; pipes and sockets are no images."""
    return _is_broken(entry) or os.path.isfile(entry.path)


def _is_broken(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to nothing, or to itself."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _local_file(entry: os.DirEntry[str], hidden: bool) -> File:
    broken = _is_broken(entry)
    status = entry.stat(follow_symlinks=not broken)
    length = 0 if broken else status.st_size
    path = entry.path.encode("utf-8", "replace").decode("utf-8")  # names that are no UTF-8 cannot enter a table
    if path != entry.path and os.path.lexists(path):
        raise InputError(
            f"The name of a file beside {path} is no UTF-8, and no table could tell the two apart. Rename it: in its "
            f"folder, ls -b shows {os.fsencode(entry.name)!r}."
        )
    return File(f"file:{path}", length, _from_nanoseconds(status.st_mtime_ns), hidden)


def _from_nanoseconds(nanoseconds: int) -> datetime:
    """Exact to the microsecond; float seconds are not."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def _bucket_and_prefix(rest: str) -> tuple[str, str]:
    bucket, _, prefix = rest.partition("/")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def _s3(bucket: str, prefix: str) -> Iterator[File]:
    for item in list_objects(bucket, prefix):
        if not item["Key"].endswith("/"):  # consoles create empty keys that stand for folders
            yield _s3_file(bucket, prefix, item)


def _s3_file(bucket: str, prefix: str, item: dict[str, Any]) -> File:
    key: str = item["Key"]
    modified = item["LastModified"].astimezone(UTC)
    return File(f"s3://{bucket}/{key}", item["Size"], modified, _is_hidden(key[len(prefix) :]))


def _fsspec(protocol: str, rest: str) -> Iterator[File]:
    """Any other storage, listed at once."""
    import fsspec

    filesystem = fsspec.filesystem(protocol, use_listings_cache=False)
    root = str(filesystem._strip_protocol(rest)).rstrip("/")
    for path, info in sorted(filesystem.find(root, detail=True).items()):
        modified = info.get("LastModified") or info.get("mtime") or info.get("created")
        hidden = _is_hidden(path[len(root) :].lstrip("/"))
        yield File(f"{protocol}://{path.lstrip('/')}", int(info["size"]), _as_utc(modified), hidden)


def _as_utc(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromtimestamp(float(value or 0), UTC)
