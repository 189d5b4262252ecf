"""What the workers read and write themselves, on the local disk or in S3: the bytes of images, and finished files.

Spark only lists the images. Reading them here, some files ahead of the network that uses them, hides the tens of
milliseconds that every GET of an object store takes; Spark's own `binaryFile` reads one object after another.
"""

import errno
import itertools
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fruits_pipeline import s3
from fruits_pipeline.files import unfinished_beside
from fruits_pipeline.images import UnusableImageError

_LASTING = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG)
"""Faults of one local file that trying again cannot mend."""


@dataclass(frozen=True)
class ImageFile:
    """The outcome of reading one file: its bytes, or why there are none."""

    path: str
    content: bytes = b""
    problem: UnusableImageError | None = None


def read_files(paths: Iterable[str], read_ahead: int) -> Iterator[ImageFile]:
    """Reads files in order, some ahead of the one that is asked for.

    Remote files are read by a thread for each that is in flight, local ones by a single thread: it hides a cold disk
    (1,000 real photographs beside the network: 0.37 ms an image without it, 0.04 with it), and more of them would take
    the core from the network for nothing where the files are in memory.

    Args:
        paths: Paths as Spark lists them: `file:/…`, `s3a://…`, `s3://…`, or a plain local path.
        read_ahead: How many files may be read in advance; 0 reads each one when it is asked for.

    Yields:
        One `ImageFile` per path, in the order of the paths.

    Raises:
        OSError: When a read fails for a cause that may pass (network, throttling): Spark repeats the task, and no
            image is quarantined for it.
        InputError: When S3 refuses the caller and not the one object (credentials, permissions, no such bucket).
    """
    paths = iter(paths)
    first = next(paths, None)
    if first is None:
        return
    paths = itertools.chain([first], paths)
    if read_ahead == 0:
        yield from map(read_file, paths)
    else:
        yield from _in_background(read_file, paths, read_ahead, threads=1 if _is_local(first) else read_ahead)


def _in_background(
    read: Callable[[str], ImageFile], paths: Iterator[str], depth: int, threads: int
) -> Iterator[ImageFile]:
    """Reads `depth` files ahead, and refills in bursts of a quarter of them.

    One request for each image would drive the network's code and data out of the core's cache each time: with bursts,
    reading costs half the CPU time (0.5 instead of 0.95 ms an image, measured beside inference of 3 ms).
    """
    burst = max(1, depth // 4)
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read-ahead") as pool:
        window: deque[Future[ImageFile]] = deque(pool.submit(read, path) for path in itertools.islice(paths, depth))
        while window:
            done = window.popleft().result()
            if depth - len(window) >= burst:
                window.extend(pool.submit(read, path) for path in itertools.islice(paths, depth - len(window)))
            yield done


def read_file(path: str) -> ImageFile:
    """Reads one file whole.

    Args:
        path: As for `read_files`.

    Returns:
        The bytes; or a problem `vanished` (gone since it was listed) or `unreadable` (a local file without read
        permission, an archived object: trying again cannot help).

    Raises:
        OSError: As for `read_files`.
        InputError: As for `read_files`.
    """
    try:
        return ImageFile(path, read_bytes(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        return ImageFile(path, problem=UnusableImageError("vanished", f"gone since it was listed: {error}"))
    except s3.UnreadableObjectError as error:
        return ImageFile(path, problem=UnusableImageError("unreadable", str(error)))
    except OSError as error:
        if not _is_local(path) or error.errno not in _LASTING:
            raise
        return ImageFile(path, problem=UnusableImageError("unreadable", str(error)))


def read_bytes(path: str) -> bytes:
    """Reads one file whole.

    Args:
        path: As for `read_files`.

    Raises:
        FileNotFoundError: If it is gone.
        UnreadableObjectError: If S3 keeps it out of reach.
        OSError: As for `read_files`, and of a local file whatever is wrong with it.
        InputError: As for `read_files`.
    """
    return local_path(path).read_bytes() if _is_local(path) else _read_remote(path)


def _is_local(path: str) -> bool:
    return path.startswith("file:") or "://" not in path


def local_path(path: str) -> Path:
    """Turns Spark's `file:/a b/c.jpg` into a local path; Spark does not percent-encode, so nothing is decoded."""
    plain = path.removeprefix("file:")
    return Path("/" + plain.lstrip("/")) if path.startswith("file:") else Path(plain)


def _read_remote(path: str) -> bytes:
    protocol, _, rest = path.partition("://")
    if protocol in s3.PROTOCOLS:
        bucket, _, key = rest.partition("/")
        return s3.read_object(bucket, key)
    content: bytes = _filesystem(protocol).cat_file(rest)
    return content


@contextmanager
def unfinished_file(target: str) -> Iterator[Path]:
    """A local path to write what `publish` will put in the place of `target`; removed at the end.

    For a target in a bucket it lies where Spark lets its workers put such things: on a cluster a disk of the size that
    the work needs, which is cleared when the work is done.

    Args:
        target: As paths in `read_files`.
    """
    if _is_local(target):
        with unfinished_beside(local_path(target)) as path:
            yield path
    else:
        scratch = os.environ.get("SPARK_LOCAL_DIRS", "").partition(",")[0] or None
        with tempfile.TemporaryDirectory(prefix="fruits_pipeline-", dir=scratch) as folder:
            yield Path(folder) / "unfinished"


def publish(file: Path, target: str) -> None:
    """Makes a finished file appear under its name, whole, in the place of one that may be there already.

    Args:
        file: From `unfinished_file` of the same target.
        target: As paths in `read_files`.

    Raises:
        OSError: When it fails for a cause that may pass.
        InputError: When S3 refuses the caller.
    """
    protocol, _, rest = target.partition("://")
    if _is_local(target):
        file.replace(local_path(target))
    elif protocol in s3.PROTOCOLS:
        bucket, _, key = rest.partition("/")
        s3.write_object(bucket, key, file)
    else:
        _filesystem(protocol).put_file(str(file), rest)


@cache
def _filesystem(protocol: str) -> Any:
    """One client per worker process; imported here because local runs need none."""
    import fsspec

    return fsspec.filesystem(protocol, use_listings_cache=False)
