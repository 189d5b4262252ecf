"""A run that dies at any point leaves the old or the new state, and the rerun gives what an undisturbed run gives."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from .faults import FIRES
from .outputs import TABLES, Result, assert_same, read, report, result

pytestmark = pytest.mark.slow

FAULTS = Path(__file__).with_name("faults.py")
KILLS = int(os.environ.get("FRUITS_TEST_KILLS", "2"))
"""Runs killed at random moments; `make crashes` makes it 50, and adds some points."""
GROUPS = {"first": 36, "second": 30}


@dataclass(frozen=True)
class Growth:
    """Images, the output of a run over a part of them, and what a run over all of them gives.

    Attributes:
        images: The folder with all images.
        before: Output of the run over the first ones.
        old: Number of images in it.
        new: Number of all images.
        expected: What an undisturbed run over all gives, begun from `before`.
        seconds: How long that took.
    """

    images: Path
    before: Path
    old: int
    new: int
    expected: Result
    seconds: float

    def params(self, output: Path) -> str:
        return f"--params=images={self.images},output={output},featurization.images_per_task=4"


def environment(output: Path, **more: str) -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYSPARK_")}
    return {**environ, "FRUITS_TEST_OUTPUT": str(output), **more}


def run(project: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", "run", *arguments]
    return subprocess.run(
        command, cwd=project, env={**os.environ, **environ}, capture_output=True, text=True, timeout=300, check=False
    )


def disturbed(
    project: Path, output: Path, point: str, fault: str, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """A run that meets with a fault."""
    command = [sys.executable, str(FAULTS), point, fault, "run", *arguments]
    return subprocess.run(
        command,
        cwd=project,
        env=environment(output, **environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def growth(project, sample_run, tmp_path_factory) -> Growth:
    """Some of the sample's images, then some more, two of them broken."""
    folder = tmp_path_factory.mktemp("crashes é")
    images, before, after = (folder / name for name in ("images", "before", "after"))
    sources = sorted(sample_run.images.rglob("[0-9]*.jpg"))[:: max(1, 200 // sum(GROUPS.values()))]
    broken = sorted(sample_run.images.rglob("broken_*"))
    first, second = sources[: GROUPS["first"]], sources[GROUPS["first"] :][: GROUPS["second"]] + broken

    def add(files: list[Path]) -> None:
        for file in files:
            target = images / file.relative_to(sample_run.images)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)

    params = "featurization.max_quarantined=0.1"
    shutil.copytree(sample_run.output / "06_models" / "encoders", before / "06_models" / "encoders")
    add(first)
    arguments = f"--params=images={images},output={{}},{params}"
    done = run(project, arguments.format(before))
    assert done.returncode == 0, done.stderr
    add(second)
    shutil.copytree(before, after)
    start = time.monotonic()
    done = run(project, arguments.format(after))
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - start
    return Growth(images, before, len(first), len(first) + len(second), result(after), seconds)


@pytest.fixture
def output(growth, tmp_path) -> Path:
    return Path(shutil.copytree(growth.before, tmp_path / "output"))


def params(growth: Growth, output: Path) -> str:
    return (
        f"--params=images={growth.images},output={output},featurization.images_per_task=4,"
        "featurization.max_quarantined=0.1"
    )


def assert_old_or_new(growth: Growth, output: Path) -> None:
    """Every table is whole: that of the run before, or that of this one."""
    n_bad = growth.expected.counts["in_quarantine"]
    for table in TABLES:
        rows = read(output, table)
        bad = n_bad if table == "reduced_features" else 0
        assert len(rows) in (growth.old, growth.new - bad), table
        assert rows["path"].is_unique
    assert len(read(output, "featurized_images")) in (growth.old, growth.new)


def assert_converges(project: Path, growth: Growth, output: Path) -> dict:
    """The rerun gives what an undisturbed run gives, and leaves nothing of the dead one."""
    committed = len(read(output, "featurized_images"))
    done = run(project, params(growth, output))
    assert done.returncode == 0, done.stderr
    assert_same(result(output), growth.expected)
    counts = report(output)["counts"]
    assert counts["featurised"] + counts["quarantined"] == growth.new - committed
    for table, layer in {**TABLES, "featurized_images": "04_feature"}.items():
        folders = [path for path in (output / layer / table).iterdir() if path.is_dir()]
        assert all((path / "_SUCCESS").is_file() for path in folders)
        assert len(folders) == (2 if table == "featurized_images" else 1)
    return counts


BEFORE_COMMIT = [
    "after image_index",
    "middle of featurized_images",
    "some of featurized_images",
    "before commit of featurized_images",
]
AFTER_COMMIT = ["after featurized_images", "after scaler", "before commit of reduced_features"]
MORE = ["before commit of image_status", "after fit", "after reduced_features", "after run_report"]


@pytest.mark.parametrize("point", BEFORE_COMMIT + AFTER_COMMIT + (MORE if "FRUITS_TEST_KILLS" in os.environ else []))
def test_killed(project, growth, output, point):
    """SIGKILL: nobody can say or clean anything."""
    done = disturbed(project, output, point, "kill", params(growth, output))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert_old_or_new(growth, output)
    n_committed = growth.old if point in BEFORE_COMMIT else growth.new
    assert len(read(output, "featurized_images")) == n_committed
    assert_converges(project, growth, output)
    runs = pd.read_csv(output / "08_reporting" / "runs.csv")
    assert list(runs["status"]) == ["finished", "died", "finished"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("terminate", 143, ["Terminated.", "run the same command again to continue"]),
        ("interrupt", 130, ["Interrupted.", "run the same command again to continue"]),
        ("kill_java", 1, ["Java process has ended", "run the same command again to continue"]),
    ],
)
def test_ended(project, growth, output, fault, code, words):
    """In the middle of the featurization: an exit code, one message, and an output that is free at once."""
    done = disturbed(project, output, "some of featurized_images", fault, params(growth, output))
    assert done.returncode == code, done.stderr
    error = done.stderr[done.stderr.rindex("Error: ") :]
    assert all(word in error for word in words), done.stderr
    assert "Traceback" not in error  # before it, PySpark's own thread may complain of a JVM that is gone
    assert not (output / ".run.lock").exists()
    assert_old_or_new(growth, output)
    assert len(read(output, "featurized_images")) == growth.old
    assert_converges(project, growth, output)
    runs = pd.read_csv(output / "08_reporting" / "runs.csv")
    assert list(runs["status"]) == ["finished", "failed" if fault == "kill_java" else "interrupted", "finished"]


def test_a_killed_worker_costs_a_task(project, growth, output):
    """Spark starts another one and repeats the task: the run succeeds."""
    done = disturbed(project, output, "some of featurized_images", "kill_worker", params(growth, output))
    assert done.returncode == 0, done.stderr
    assert FIRES in done.stderr
    assert "Exception in thread" not in done.stderr  # the fault's own thread would not stop the run
    assert_same(result(output), growth.expected)


@pytest.mark.parametrize("point", ["before commit of featurized_images", "after replacement"])
def test_killed_during_compaction(project, growth, output, point):
    """Readers see the rows once, in the old batches or in the new one."""
    done = run(project, params(growth, output))
    assert done.returncode == 0, done.stderr
    compaction = f"--params=images={growth.images},output={output},maintenance.keep_replaced_hours=0"
    done = disturbed(project, output, point, "kill", "--pipelines=maintenance", compaction)
    assert done.returncode == -signal.SIGKILL, done.stderr
    rows = read(output, "featurized_images")
    assert len(rows) == growth.new
    assert rows["path"].is_unique
    done = run(project, "--pipelines=maintenance", compaction)
    assert done.returncode == 0, done.stderr
    assert_same(result(output), growth.expected)
    done = run(project, params(growth, output))
    assert done.returncode == 0, done.stderr
    assert report(output)["counts"]["unchanged"] == growth.new
    assert_same(result(output), growth.expected)


def test_killed_while_forgetting(project, growth, output):
    """The batch without the images is committed, the old ones with them are still there: the rerun removes them."""
    labeled = read(output, "labeled_images")
    label = labeled["label"].iloc[0]
    forgotten = set(labeled.loc[labeled["label"] == label, "path"])
    arguments = ("--pipelines=forget", f"--params=images={growth.images},output={output},forget.labels={label}")
    done = disturbed(project, output, "after replacement", "kill", *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr
    table = output / "04_feature" / "featurized_images"
    assert len(list(table.glob("batch=*"))) == 2
    done = run(project, *arguments)
    assert done.returncode == 0, done.stderr
    assert len(list(table.glob("batch=*"))) == 1
    for name in (*TABLES, "featurized_images"):
        left = set(read(output, name)["path"])
        assert left
        assert not left & forgotten
    versions = [folder for layer in TABLES.items() for folder in (output / layer[1] / layer[0]).glob("run=*")]
    assert len(versions) == len(TABLES)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A filesystem of 80 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_disk_full(project, growth, small_disk):
    output = Path(shutil.copytree(growth.before, small_disk / "output"))
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        file.write(bytes(free - 200_000))
    done = run(project, params(growth, output))
    assert done.returncode == 1, done.stderr
    assert "The disk is full." in done.stderr
    assert "Traceback" not in done.stderr
    assert_old_or_new(growth, output)
    filler.unlink()
    assert_converges(project, growth, output)


def test_disk_becomes_read_only(project, growth, small_disk):
    """As disks do that fail."""
    output = Path(shutil.copytree(growth.before, small_disk / "output"))
    done = disturbed(
        project,
        output,
        "after image_status",
        "make_read_only",
        params(growth, output),
        FRUITS_TEST_MOUNT=str(small_disk),
    )
    assert done.returncode == 1, done.stderr
    assert "read-only" in done.stderr[done.stderr.rindex("Error: ") :].lower()
    assert_old_or_new(growth, output)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_converges(project, growth, output)


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_at_a_random_moment(project, growth, output, kill):
    """Half of the rounds start from nothing, half from an earlier run."""
    if kill % 2:
        shutil.rmtree(output)
        shutil.copytree(growth.before / "06_models" / "encoders", output / "06_models" / "encoders")
    moment = random.Random(kill).uniform(0, growth.seconds)
    command = [sys.executable, "-m", "kedro", "run", params(growth, output)]
    with subprocess.Popen(
        command, cwd=project, env=environment(output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(moment)
        process.kill()
    if not kill % 2:
        assert_old_or_new(growth, output)
    done = run(project, params(growth, output))
    assert done.returncode == 0, done.stderr
    assert_same(result(output), growth.expected)
