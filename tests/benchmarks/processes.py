"""Runs a contender as a process of its own: alone on the machine, timed, its memory and processor time watched."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LOCK = "FRUITS_BENCH_LOCK"
"""Environment variable with a file that is locked (flock) for as long as a contender runs."""

PERIOD = 0.2
"""Seconds between two looks at the processor time of those that nobody waits for: what comes after the last is lost."""

SCAN_EVERY = 5
PSS_EVERY = 25
# The kernel keeps the high-water mark of resident memory, so that a look every second misses nothing but what happens
# in a process's last second. Looking for new processes reads all of /proc, and proportional memory (PSS) walks page
# tables, with the lock that the process needs for new memory: every two seconds cost ours 2 s of 67 (in turn).

_TICKS = os.sysconf("SC_CLK_TCK")

GRACE = 30.0
"""Seconds that the children of a finished contender have to end by themselves."""

_PR_SET_CHILD_SUBREAPER = 36
"""From Linux's <sys/prctl.h>: orphans among the descendants become children of the process that asks for it."""


@dataclass(frozen=True)
class Outcome:
    """What is known of a finished process.

    Attributes:
        wall_s: Seconds from just before its start to its exit.
        exit_code: 0 for success; None if it was stopped for taking too long.
        output: Its standard output.
        log: Lines of its standard error, each with the second at which it came.
        memory: See `ProcessWatch.peaks`.
        processor: Seconds of all cores together: `own` (its processes), `others` (anything else on the machine) and
            `stolen` (by the host of a virtual machine). The last two say how far a measurement can be trusted.
    """

    wall_s: float
    exit_code: int | None
    output: str
    log: list[tuple[float, str]]
    memory: dict[str, int]
    processor: dict[str, float]


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Holds the lock that the environment names, if it names one."""
    name = os.environ.get(LOCK)
    if not name:
        yield
        return
    with open(name, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float) -> Outcome:
    """Runs one command alone and watches it.

    Args:
        command: Program and arguments.
        cwd: Where it runs.
        environment: Added to this process's own.
        timeout: Seconds after which it is stopped.

    Returns:
        Its time, output and memory. When this returns, all its children have ended.
    """
    with exclusive(), tempfile.TemporaryFile("w+") as output:
        os.sync()  # what the one before has written is no work of this one
        _adopt_orphans()
        own, (busy, stolen) = _own_seconds(), _machine_seconds()
        began = time.time()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment, "FRUITS_BENCH_STARTED": str(began)},
            stdout=output,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        with _Log(process.stderr, began) as log, ProcessWatch(process.pid) as watch:
            try:
                exit_code: int | None = process.wait(timeout)
            except subprocess.TimeoutExpired:
                exit_code = None
            wall = time.time() - began
            watch.end_all(GRACE if exit_code == 0 else 0)
            process.wait()
        buried = _bury_orphans()
        busy, stolen = (now - before for now, before in zip(_machine_seconds(), (busy, stolen), strict=True))
        own = _own_seconds() - own + watch.unwaited_seconds(buried)
        processor = {"own": own, "others": max(0.0, busy - own), "stolen": stolen}
        output.seek(0)
        return Outcome(round(wall, 3), exit_code, output.read(), log.lines, watch.peaks, processor)


def find_descendants(root: int) -> list[int]:
    """The process `root` and all that descend from it."""
    watch = ProcessWatch(root)
    watch.scan()
    return watch.pids


def _machine_seconds() -> tuple[float, float]:
    """Seconds that all cores were busy since boot, and those that the host took from them (proc(5), stat)."""
    user, nice, system, _, _, irq, soft, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft) / _TICKS, stolen / _TICKS


def _adopt_orphans() -> None:
    """Makes this process the parent of every descendant that loses its own, so that its time is counted too."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def _bury_orphans() -> set[int]:
    """Waits for all children to end, and says which did; only then does the kernel count their time as ours.

    The first thread of a process may be gone, so that it looks ended, while others still give its memory back.
    """
    deadline, buried = time.monotonic() + GRACE, set()
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if pid := os.waitpid(-1, os.WNOHANG)[0]:
                buried.add(pid)
            else:
                time.sleep(0.01)
    return buried


def _own_seconds() -> float:
    """Processor time of all descendants that have ended, however short they lived, if somebody waited for them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Log:
    """Reads standard error line by line, with times."""

    def __init__(self, stream: IO[str] | None, began: float) -> None:
        self.lines: list[tuple[float, str]] = []
        self._stream, self._began = stream, began
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        for line in self._stream or ():
            self.lines.append((round(time.time() - self._began, 3), line.rstrip("\n")))

    def __enter__(self) -> _Log:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@dataclass(frozen=True)
class _Seen:
    """One process of the tree: `started` tells it from a later one with the same id, `ticks` is its processor time."""

    pid: int
    parent: int
    started: int
    name: str
    ticks: int


@dataclass
class ProcessWatch:
    """Samples the memory and the processor time of a process and all of its descendants.

    Attributes:
        root: The process.
        peaks: Peaks in MB: `<role>_rss` (exact: the kernel's own high-water mark) and `<role>_pss` (sampled; shared
            pages count by their share) of the largest process of each role, `workers` (how many), and `tree_rss` and
            `tree_pss` of all processes together (sampled). Roles: `driver_python` (the root), `driver_jvm`, `worker`
            (every other process; Spark's launcher and fork server excepted).
    """

    root: int
    peaks: dict[str, int] = field(default_factory=dict)
    _seen: dict[int, _Seen] = field(default_factory=dict)
    _workers: set[int] = field(default_factory=set)
    _unwaited: dict[int, int] = field(default_factory=dict)
    _careless: set[int] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> ProcessWatch:
        """Starts sampling."""
        self.scan()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops sampling, and every process that is left when this is left by an error."""
        self.end_all(0)

    def end_all(self, grace: float) -> None:
        """Stops sampling; waits for the processes of the tree, and kills those that do not end in `grace` seconds."""
        self._stopped.set()
        self._thread.join()
        self.scan()
        deadline = time.monotonic() + grace
        while self._alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        for each in self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)

    @property
    def pids(self) -> list[int]:
        """All processes seen so far."""
        return list(self._seen)

    def unwaited_seconds(self, buried: set[int]) -> float:
        """Processor time, up to the last look, of those that nobody waited for: the kernel adds it to no parent's.

        Args:
            buried: Children that this process has waited for in the place of their own parent.
        """
        return sum(ticks for pid, ticks in self._unwaited.items() if pid not in buried) / _TICKS

    def _alive(self) -> list[_Seen]:
        now = (_read_stat(pid) for pid in self._seen)
        return [each for each in now if each and each.started == self._seen[each.pid].started]

    def _watch(self) -> None:
        count = 0
        while not self._stopped.wait(PERIOD):
            count += 1
            self._sample_unwaited()
            if count % SCAN_EVERY == 0:
                self.scan()
                self._sample(_resident_mb, "rss")
            if count % PSS_EVERY == 0:
                self._sample(_proportional_mb, "pss")

    def scan(self) -> None:
        """Adds new descendants. A child whose parent has ended keeps its place, because it was seen before."""
        found = [_read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit()]
        new = [each for each in found if each and each.pid not in self._seen]
        while adopted := [each for each in new if each.parent in self._seen or each.pid == self.root]:
            self._seen.update({each.pid: each for each in adopted})
            new = [each for each in new if each.pid not in self._seen]
        self._careless = {pid for pid in {each.parent for each in self._seen.values()} if _ignores_children(pid)}

    def _sample(self, measure: object, kind: str) -> None:
        total = 0
        for each in list(self._seen.values()):
            now, peak = measure(each.pid)  # type: ignore[operator]
            total += now
            role = self._role(each.pid)
            if role and peak:
                self._raise(f"{role}_{kind}", peak)
            if role == "worker" and peak:
                self._workers.add(each.pid)
                self._raise("workers", len(self._workers))
        self._raise(f"tree_{kind}", total)

    def _sample_unwaited(self) -> None:
        for pid in self._careless:
            for each in (each for each in self._seen.values() if each.parent == pid):
                if now := _read_stat(each.pid):
                    self._unwaited[each.pid] = now.ticks

    def _raise(self, name: str, value: int) -> None:
        self.peaks[name] = max(self.peaks.get(name, 0), value)

    def _role(self, pid: int) -> str | None:
        """Spark forks its workers from a daemon, the JVM's child, which does no work itself."""
        each = _read_stat(pid)
        if each is None:
            return None
        if pid == self.root:
            return "driver_python"
        if each.name == "java":
            return "driver_jvm"
        if each.name in ("bash", "sh"):  # Spark's launcher
            return None
        parent = self._seen.get(self._seen[pid].parent)
        is_daemon = parent is not None and (_read_stat(parent.pid) or parent).name == "java"
        return None if is_daemon else "worker"


def _read_stat(pid: int) -> _Seen | None:
    """Parent, start and name of a living process; None for one that has ended (a zombie included)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return None if rest[0] in "ZX" else _Seen(pid, int(rest[1]), int(rest[19]), name, int(rest[11]) + int(rest[12]))


def _ignores_children(pid: int) -> bool:
    """Whether a process lets its children go without waiting (PySpark's daemon): bit SIGCHLD of SigIgn in proc(5)."""
    try:
        ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
    except (OSError, IndexError):
        return False
    return bool(int(ignored, 16) >> (signal.SIGCHLD - 1) & 1)


def _resident_mb(pid: int) -> tuple[int, int]:
    """Resident memory of a process now, and its high-water mark (VmRSS and VmHWM of proc(5)), in MB."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]) // 1024, int(status["VmHWM"].split()[0]) // 1024
    except (OSError, KeyError, ValueError):
        return 0, 0


def _proportional_mb(pid: int) -> tuple[int, int]:
    """Memory of a process with shared pages counted by their share (Pss of smaps_rollup), in MB, twice."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        pss = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration, ValueError):
        return 0, 0
    return pss, pss
