"""The raw measurements: a JSON file that invocations add to, and the machine that they were made on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import environment

Record = dict[str, Any]
Key = tuple[str, int]
"""Contender and N."""

PACKAGES = ("kedro", "pyspark", "tensorflow", "keras", "onnxruntime", "openvino", "pillow", "numpy", "pyarrow")
PEERS = ("daft", "ray", "pyarrow")


@dataclass
class Records:
    """All measurements in one file.

    A contender that is measured again at the same N replaces what earlier invocations measured of it there, so that a
    table never mixes versions of the code within a row.

    Attributes:
        path: The file.
        invocations: What was started, when and where.
        measurements: One entry per contender, N and repeat.
    """

    path: Path
    invocations: list[Record] = field(default_factory=list)
    measurements: list[Record] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Records:
        """Reads the file; empty if there is none."""
        return cls(path, **json.loads(path.read_text())) if path.exists() else cls(path)

    def begin(self, invocation: Record) -> int:
        """Adds an invocation and returns its number."""
        number = max((each["number"] for each in self.invocations), default=0) + 1
        self.invocations.append({"number": number, **invocation})
        return number

    def add(self, measurement: Record) -> None:
        """Adds a measurement and saves the file."""
        self.measurements = [each for each in self.measurements if not _is_outdated(each, measurement)]
        self.measurements.append(measurement)
        used = {each["invocation"] for each in self.measurements}
        self.invocations = [each for each in self.invocations if each["number"] in used]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"invocations": self.invocations, "measurements": self.measurements}, indent=1)
        self.path.write_text(text + "\n")

    def medians(self) -> dict[Key, Record]:
        """One record per contender and N: the median of every number. Of failures, the failure."""
        groups: dict[Key, list[Record]] = {}
        for each in self.measurements:
            groups.setdefault((each["contender"], each["n"]), []).append(each)
        return {key: _median_record(group) for key, group in groups.items()}


def _is_outdated(old: Record, new: Record) -> bool:
    same = (old["contender"], old["n"]) == (new["contender"], new["n"])
    return same and old["invocation"] != new["invocation"]


def _median_record(group: list[Record]) -> Record:
    good = [each for each in group if "failed" not in each]
    if not good:
        return group[-1]
    walls = [each["wall_s"] for each in good]
    return {**_medians(good), "repeats": len(good), "wall_min": min(walls), "wall_max": max(walls)}


def _medians(group: Iterable[Any]) -> Any:
    """Medians of numbers, key by key; of anything else the last value."""
    values = [each for each in group if each is not None]
    if not values:
        return None
    if all(isinstance(value, dict) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _medians(value.get(name) for value in values) for name in names}
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return median(values)
    return values[-1]


def describe_machine(cores: int) -> Record:
    """Processor, cores, memory and system."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    flags = next((line.split() for line in info if line.startswith("flags")), [])
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "processor": names[0] if names else platform.processor(),
        "vector units": " ".join(f for f in flags if f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")) or "–",
        "cores": f"{cores} used of {os.cpu_count()}",
        "memory": f"{total:.0f} GiB",
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', 'Linux')}, kernel {platform.release()}",
    }


def describe_versions() -> dict[str, str]:
    """Versions of what was measured; the benchmarks' own environment is marked."""
    found = {"python": platform.python_version(), "java": _java()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if environment.PYTHON.exists():
        found |= {f"{name} (benchmarks)": number for name, number in environment.versions(*PEERS).items()}
    return found


def _java() -> str:
    output = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    return output.stderr.partition('"')[2].partition('"')[0] or "?"


def commit(project: Path) -> str:
    """Short commit of the checkout, with `-dirty` for uncommitted changes; `?` outside a git checkout."""
    git = ["git", "-C", str(project), "describe", "--always", "--dirty", "--abbrev=9"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "?"
