"""What is known of the run that is under way: its id, its clock, and the machine it runs on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "fruits_pipeline",
    "kedro",
    "kedro-datasets",
    "pyspark",
    "tensorflow",
    "keras",
    "onnxruntime",
    "pillow",
    "numpy",
    "pyarrow",
    "s3fs",
)

PACKAGED_COMMIT = Path(__file__).with_name("commit.txt")
"""In packed wheels only: a cluster has no checkout to ask."""


@dataclass
class RunRecord:
    """The run, as nodes may know it: the dataset `run`, filled by the project's hooks.

    Attributes:
        run_id: Kedro's id of the session; names the batch of `featurized_images`.
        env: Configuration environment (`base`, `cloud`).
        pipelines: Names of the pipelines asked for.
        git_commit: Of the project's code, with `-dirty` for uncommitted changes; None where neither git nor the wheel
            knows it.
        started_at: When the process started.
        seconds: Wall seconds by node, from the load of its first input to the save of its last output.
        n_pending: How many images the featurization has to do.
        worker_clocks: Sums (Spark accumulators, but for the listing) of the seconds that all workers together spent in
            each stage.
        ignored_files: Number of files that are no images, by extension; None before a listing.
    """

    run_id: str
    env: str = "base"
    pipelines: tuple[str, ...] = ("__default__",)
    git_commit: str | None = None
    started_at: datetime = field(default_factory=lambda: process_start())
    seconds: dict[str, float] = field(default_factory=dict)
    n_pending: int = 0
    worker_clocks: dict[str, Any] = field(default_factory=dict, repr=False)
    ignored_files: Counter[str] | None = field(default=None, repr=False)
    _began: dict[str, float] = field(default_factory=dict, repr=False)

    def begin(self, node: str) -> None:
        """Starts a node's clock; only the first call counts."""
        self._began.setdefault(node, time.monotonic())

    def lap(self, node: str) -> None:
        """Notes the time that a node has taken so far; the last call counts."""
        if node in self._began:
            self.seconds[node] = round(time.monotonic() - self._began[node], 3)

    def start_clocks(self, clocks: dict[str, Any]) -> dict[str, Any]:
        """Keeps the accumulators of some stages for the report, and gives them back for the workers."""
        self.worker_clocks.update(clocks)
        return clocks

    @property
    def worker_seconds(self) -> dict[str, float]:
        """Seconds by stage, summed over all workers."""
        return {stage: round(float(clock.value), 3) for stage, clock in self.worker_clocks.items()}

    def summary(self, status: str) -> dict[str, Any]:
        """What every kept report begins with.

        Args:
            status: `started`, `finished`, `failed` or `interrupted`.
        """
        return {
            "run_id": self.run_id,
            "status": status,
            "env": self.env,
            "pipelines": list(self.pipelines),
            "git_commit": self.git_commit,
            "started_at": self.started_at.isoformat(timespec="seconds"),
        }

    @property
    def elapsed(self) -> float:
        """Seconds since the process started: imports and Spark's start included."""
        return (datetime.now(UTC) - self.started_at).total_seconds()


def process_start() -> datetime:
    """When this process started; on systems without /proc, now."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        age = uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5): start time in clock ticks
        return datetime.fromtimestamp(time.time() - age, UTC)
    except (OSError, ValueError, IndexError):
        return datetime.now(UTC)


def git_commit(folder: Path, packaged: Path = PACKAGED_COMMIT) -> str | None:
    """Commit of the code: the one that `make package` wrote into the wheel, else that of the checkout at `folder`."""
    with contextlib.suppress(FileNotFoundError):
        return packaged.read_text().strip()
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the result; those that are not installed are left out."""
    return {"python": platform.python_version(), **dict(_installed())}


def _installed() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def spark_versions() -> dict[str, str]:
    """Versions of the running Spark and Java, and the master; empty if there is none."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context  # a session is active in the thread that began it, and in no other
    if context is None:
        return {}
    java = context._jvm.System.getProperty("java.version")  # type: ignore[union-attr]
    return {"spark": context.version, "java": str(java), "master": str(context.master)}


def peak_memory() -> dict[str, int]:
    """Peak resident memory in MB of this process tree so far, from /proc; empty where there is none.

    Returns:
        `driver_python`, `driver_jvm`, and `largest_worker`, as far as these processes are still alive.
    """
    own = os.getpid()
    peaks: dict[str, int] = {}
    for pid in [own, *_descendants(own)]:
        name, peak = _peak_of(pid)
        role = "driver_python" if pid == own else "driver_jvm" if name == "java" else "largest_worker"
        peaks[role] = max(peaks.get(role, 0), peak)
    return {role: peak for role, peak in peaks.items() if peak}


def _descendants(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in _descendants(child)]


def _peak_of(pid: int) -> tuple[str, int]:
    """Name and peak resident memory (VmHWM of proc(5), in MB) of a process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "", 0
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    return status["Name"].strip(), int(status.get("VmHWM", "0 kB").split()[0]) // 1024


def plain(value: Any) -> Any:
    """Parameters as JSON-ready values: Pydantic models become dictionaries."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value
