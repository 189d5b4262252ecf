"""One run at a time on one output folder: a lock that a dead run does not hold for ever.

The lock is a small file (or object) `.run.lock` in the output folder. A run creates it only if it is not there, writes
it anew every 20 seconds, and removes it at its end. Whoever finds a lock that was not renewed for two minutes, or one
of a process of this machine that no longer lives, takes it over. Taking over compares and replaces in one step, so of
two runs that find the same dead lock, one gets it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from fruits_pipeline.errors import LockedError
from fruits_pipeline.files import replace_file
from fruits_pipeline.s3 import PROTOCOLS, words_of

NAME: Final = ".run.lock"
LIVES: Final = timedelta(minutes=2)
"""How long a lock is good that nobody renews. Clocks of different machines may differ by less than this."""
RENEWED_EVERY: Final = timedelta(seconds=20)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        run_id: The run.
        host: Name of its machine.
        machine: What tells its process numbers from those of other machines and containers.
        pid: Its process.
        born: When that process started, in clock ticks since boot: process numbers are used again.
        since: When the run took the lock.
        until: When the lock ends if it is not renewed.
    """

    run_id: str
    host: str
    machine: str
    pid: int
    born: int
    since: datetime
    until: datetime

    @classmethod
    def this_process(cls, run_id: str, now: datetime) -> Holder:
        """The holder that this process would be."""
        pid = os.getpid()
        return cls(run_id, platform.node(), _machine(), pid, _born(pid), now, now + LIVES)

    def to_json(self) -> bytes:
        """The content of the lock file."""
        return json.dumps(asdict(self), default=datetime.isoformat, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Holder:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is something else.
        """
        try:
            values = json.loads(content)
            times = {name: datetime.fromisoformat(values[name]) for name in ("since", "until")}
            return cls(**{**values, **times})
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"no lock of this program: {content[:80]!r}") from error

    def is_dead(self, now: datetime) -> bool:
        """Whether its process has ended, or the lock has where this machine cannot see the process.

        A process of this machine that stands still (Ctrl-Z, a closed laptop) will go on: it is not dead.
        """
        return _born(self.pid) != self.born if self.machine == _machine() else now >= self.until


class Place(Protocol):
    """Where a lock lies. Each operation happens at once or not at all."""

    def create(self, content: bytes) -> bool:
        """Writes the lock if there is none; False if there is one."""

    def read(self) -> tuple[bytes, str] | None:
        """The lock's content and its version, or None."""

    def replace(self, content: bytes, version: str) -> bool:
        """Writes the lock if it still has this version."""

    def remove(self, version: str) -> None:
        """Removes the lock if it still has this version."""


class LocalPlace:
    """A file; the kernel's lock on its folder makes each operation one step, for all processes of the machine."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self._folder, self._path = folder, folder / NAME

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def create(self, content: bytes) -> bool:
        """See `Place`."""
        with self._alone():
            free = not self._path.exists()
            if free:
                replace_file(self._path, content)
            return free

    def read(self) -> tuple[bytes, str] | None:
        """See `Place`."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return content, hashlib.sha256(content).hexdigest()

    def replace(self, content: bytes, version: str) -> bool:
        """See `Place`."""
        with self._alone():
            ours = self._is(version)
            if ours:
                replace_file(self._path, content)
            return ours

    def remove(self, version: str) -> None:
        """See `Place`."""
        with self._alone():
            if self._is(version):
                self._path.unlink()

    def _is(self, version: str) -> bool:
        found = self.read()
        return found is not None and found[1] == version


class S3Place:
    """An object; S3 itself compares versions (conditional writes)."""

    def __init__(self, bucket: str, prefix: str) -> None:
        """Asks nothing yet."""
        self._bucket, self._key = bucket, f"{prefix.strip('/')}/{NAME}".lstrip("/")

    def _store(self) -> Any:
        from fruits_pipeline.s3 import object_store

        return object_store(self._bucket)

    def create(self, content: bytes) -> bool:
        """See `Place`."""
        return self._put(content, "create")

    def read(self) -> tuple[bytes, str] | None:
        """See `Place`."""
        import obstore

        try:
            found = obstore.get(self._store(), self._key)
            return bytes(found.bytes()), str(found.meta["e_tag"])
        except FileNotFoundError:
            return None

    def replace(self, content: bytes, version: str) -> bool:
        """See `Place`."""
        return self._put(content, {"e_tag": version})

    def remove(self, version: str) -> None:
        """See `Place`. S3 has no conditional deletion everywhere: the version is compared just before."""
        import obstore

        found = self.read()
        if found and found[1] == version:
            obstore.delete(self._store(), self._key)

    def _put(self, content: bytes, mode: Any, attempts: int = 2) -> bool:
        """Whether the object is ours now. Answers get lost, and a refusal may be the answer to the second attempt."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            obstore.put(self._store(), self._key, content, mode=mode)
        except (AlreadyExistsError, PreconditionError):
            return self._holds(content)
        except FileNotFoundError:
            if mode == "create":
                raise  # there is no such bucket
            return False
        except BaseError:  # no answer; obstore does not repeat by itself what may have been done
            if self._holds(content):
                return True
            if attempts == 1:
                raise
            return self._put(content, mode, attempts - 1)
        return True

    def _holds(self, content: bytes) -> bool:
        found = self.read()
        return found is not None and found[0] == content


def place_of(output: str) -> Place | None:
    """Where the lock of an output folder lies; None for storages that cannot hold one (memory://, …)."""
    protocol, separator, rest = output.partition("://")
    if separator and protocol in PROTOCOLS:
        bucket, _, prefix = rest.partition("/")
        return S3Place(bucket, prefix)
    return None if separator and protocol != "file" else LocalPlace(Path(rest or output))


class OutputLock:
    """The lock of one run, from `acquire` to `release`."""

    def __init__(self, place: Place, output: str, run_id: str, now: Callable[[], datetime] | None = None) -> None:
        """Takes nothing yet.

        Args:
            place: Where the lock lies.
            output: Name of the folder, for messages.
            run_id: The run.
            now: The clock, for tests.
        """
        self._place, self._output = place, output
        self._now = now or (lambda: datetime.now(UTC))
        self._holder = Holder.this_process(run_id, self._now())
        self._lost: Holder | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="run-lock", daemon=True)

    def acquire(self) -> None:
        """Takes the lock and keeps it alive.

        Raises:
            LockedError: If another run holds it.
        """
        while not self._place.create(self._holder.to_json()):
            found = self._place.read()
            if found is None:
                continue
            other = self._read(found[0])
            if not other.is_dead(self._now()):
                raise LockedError(self._refusal(other))
            if self._place.replace(self._holder.to_json(), found[1]):
                logger.warning("Run %s on %s ended without a word; this run takes over", other.run_id, other.host)
                break
        self._thread.start()

    def check(self) -> None:
        """Makes sure that the lock is still ours.

        Raises:
            LockedError: If another run has taken it, because this one slept longer than it lives.
        """
        if self._now() >= self._holder.until:
            self.renew()  # we stood still, and the thread that renews it with us
        if self._lost:
            raise LockedError(
                f"This run stood still so long that run {self._lost.run_id} took over {self._output}. Nothing is lost: "
                "what this run has finished is kept. Run the same command again when the other one has ended."
            )

    def renew(self) -> None:
        """Makes the lock live on from now; notes it when another run has it."""
        found = self._place.read()
        other = self._read(found[0]) if found else None
        mine = other is not None and (other.run_id, other.machine, other.pid) == self._identity
        if not mine:
            self._lost = other or self._holder
            return
        renewed = replace(self._holder, until=self._now() + LIVES)
        if found and self._place.replace(renewed.to_json(), found[1]):
            self._holder = renewed

    def release(self) -> None:
        """Gives the lock back, if it is still ours."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        found = self._place.read()
        if found and found[0] == self._holder.to_json():
            self._place.remove(found[1])

    @property
    def _identity(self) -> tuple[str, str, int]:
        return self._holder.run_id, self._holder.machine, self._holder.pid

    def _keep(self) -> None:
        while not self._lost and not self._stop.wait(RENEWED_EVERY.total_seconds()):
            try:
                self.renew()
            except Exception as error:  # a storage that does not answer now may do so in 20 seconds
                logger.warning("The lock of %s could not be renewed: %s", self._output, words_of(error))

    def _read(self, content: bytes) -> Holder:
        try:
            return Holder.from_json(content)
        except ValueError as error:
            raise LockedError(f"{self._output}/{NAME} is {error}. Remove it if no run is at work there.") from error

    def _refusal(self, other: Holder) -> str:
        return (
            f"Another run writes to {self._output}: run {other.run_id}, process {other.pid} on {other.host}, since "
            f"{other.since:%Y-%m-%d %H:%M:%S} UTC. Wait for its end, or name another output with --params=output=DIR. "
            f"If it is dead, its lock ends by itself {LIVES.total_seconds():.0f} seconds after its last sign of life."
        )


def _machine() -> str:
    """What process numbers are good for: one boot of one machine, and one container on it."""
    parts = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            parts.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text().strip())
    return " ".join(parts)


def _born(pid: int) -> int:
    """Start of a process in clock ticks since boot (field 22 of proc(5)); 0 if there is no such process.

    Without /proc, 1 for every living process.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return int(not Path("/proc/self").exists() and _lives(pid))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
