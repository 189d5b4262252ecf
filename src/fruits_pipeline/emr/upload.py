"""Files into the bucket: many at once, none twice, and again from where it stopped."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fruits_pipeline.emr.artifacts import Item

WORKERS: Final = 16
"""Uploads at once: small files wait for answers, not for bandwidth."""

PART_BYTES: Final = 16 * 1024 * 1024
"""Larger files go up in parts of this size."""

_SHA256: Final = "sha256"


@dataclass(frozen=True)
class Present:
    """An object as a listing shows it: bytes, the ETag without quotes, and when it was written."""

    size: int
    etag: str
    written: datetime


@dataclass
class Outcome:
    """What became of the files.

    Attributes:
        uploaded: Files sent.
        skipped: Files that were there already.
        size: Bytes sent.
        failed: Files that could not be read here, with the reason.
    """

    uploaded: int = 0
    skipped: int = 0
    size: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Total:
    """Files and bytes of a group."""

    files: int
    size: int


def total(items: Iterable[Item]) -> Total:
    """Counts files that are too many to be held in memory."""
    files = size = 0
    for item in items:
        files, size = files + 1, size + item.size
    return Total(files, size)


def list_folders(client: Any, bucket: str, prefixes: Iterable[str]) -> dict[str, Present]:
    """What is below any of the prefixes, by key; what lies beside them is not listed."""
    return {key: there for prefix in prefixes for key, there in list_present(client, bucket, prefix).items()}


def list_present(client: Any, bucket: str, prefix: str) -> dict[str, Present]:
    """What is below a prefix, by key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        item["Key"]: Present(item["Size"], item["ETag"].strip('"'), item["LastModified"])
        for page in pages
        for item in page.get("Contents", [])
    }


def upload(
    client: Any,
    bucket: str,
    items: Iterable[Item],
    present: Mapping[str, Present],
    told: Callable[[Item, bool], None] = lambda item, sent: None,
    outcome: Outcome | None = None,
) -> Outcome:
    """Uploads what is not there yet. Uploading again what is there would give it a new date, and a run a new image.

    Args:
        client: Of S3.
        bucket: Where to.
        items: Files and keys.
        present: What is there.
        told: Called after each file, with whether it was sent.
        outcome: Filled as the work goes on, so that an interrupted caller can say how far it came.

    Returns:
        What became of the files. A file that cannot be read is a failure of its own; what AWS objects to is raised.
    """
    result = outcome if outcome is not None else Outcome()
    for item, sent in _in_parallel(lambda item: _upload_one(client, bucket, item, present), items):
        if isinstance(sent, OSError):
            result.failed.append(f"{item.path}: {sent.strerror or sent}")
            continue
        result.uploaded += sent
        result.skipped += not sent
        result.size += item.size if sent else 0
        told(item, sent)
    return result


def _in_parallel(
    work: Callable[[Item], bool | OSError], items: Iterable[Item]
) -> Iterator[tuple[Item, bool | OSError]]:
    """Results in order, with a bounded number of files under way; on an error those not begun are dropped."""
    rest = iter(items)
    pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="upload")
    window: deque[tuple[Item, Future[bool | OSError]]] = deque()
    try:
        window.extend((item, pool.submit(work, item)) for item in itertools.islice(rest, 4 * WORKERS))
        while window:
            item, future = window.popleft()
            yield item, future.result()
            window.extend((other, pool.submit(work, other)) for other in itertools.islice(rest, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _upload_one(client: Any, bucket: str, item: Item, present: Mapping[str, Present]) -> bool | OSError:
    """Whether the file had to be sent; an OSError if it cannot be read here."""
    from boto3.s3.transfer import TransferConfig

    try:
        sha256, md5 = digests(item.path)
        modified = datetime.fromtimestamp(item.path.stat().st_mtime, UTC)
    except OSError as error:
        return error
    if is_present(client, bucket, item, sha256, md5, present):
        return False
    client.upload_file(
        str(item.path),
        bucket,
        item.key,
        ExtraArgs={"Metadata": {_SHA256: sha256, "mtime": modified.isoformat(timespec="microseconds")}},
        Config=TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False),
    )
    return True


def is_present(client: Any, bucket: str, item: Item, sha256: str, md5: str, present: Mapping[str, Present]) -> bool:
    """Whether the very same bytes are there.

    The ETag of an object is its MD5 unless it came in parts or is encrypted with a KMS key; then the SHA-256 that was
    stored beside it tells.
    """
    there = present.get(item.key)
    if there is None or there.size != item.size:
        return False
    if there.etag == md5:
        return True
    stored = client.head_object(Bucket=bucket, Key=item.key).get("Metadata", {})
    return bool(stored.get(_SHA256) == sha256)


def changed_since(client: Any, bucket: str, items: Iterable[Item], then: datetime, folder: str) -> list[str]:
    """Names of the files that are others than those in the bucket at some time.

    Args:
        client: Of S3.
        bucket: Where they are.
        items: Files and keys.
        then: The time.
        folder: Prefix of all keys.

    Returns:
        Of files that are other ones here than there, or that were written there later.
    """
    present = list_present(client, bucket, folder)
    return [
        item.path.name
        for item in items
        if not is_present(client, bucket, item, *digests(item.path), present) or present[item.key].written > then
    ]


def digests(path: Path) -> tuple[str, str]:
    """SHA-256 and MD5 of a file, in hex; MD5 only because S3 speaks it."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()
