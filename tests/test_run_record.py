"""What a run knows of itself: its clock, its code, its machine."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from fruits_pipeline import run_record
from fruits_pipeline.parameters import PcaParameters
from fruits_pipeline.run_record import (
    RunRecord,
    git_commit,
    package_versions,
    peak_memory,
    plain,
    process_start,
    spark_versions,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_node_is_timed_from_its_first_input_to_its_last_output(clock):
    run = RunRecord("1")
    run.begin("fit")
    clock.now = 101.0
    run.begin("fit")  # its second input
    clock.now = 102.5
    run.lap("fit")
    assert run.seconds == {"fit": 2.5}
    clock.now = 103.25049
    run.lap("fit")  # its second output
    assert run.seconds == {"fit": 3.25}


def test_nodes_have_clocks_of_their_own(clock):
    run, other = RunRecord("1"), RunRecord("2")
    run.begin("a")
    clock.now = 110.0
    run.begin("b")
    run.lap("a")
    run.lap("b")
    run.lap("never begun")
    assert run.seconds == {"a": 10.0, "b": 0.0}
    assert other.seconds == {}


def test_the_run_began_with_its_process():
    """In a process of its own, whose start is known from outside to a tenth of a second or so."""
    code = (
        "from fruits_pipeline.run_record import RunRecord; run = RunRecord('1');"
        "print(run.started_at.timestamp(), run.elapsed)"
    )
    before = time.time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = time.time()
    started, elapsed = map(float, done.stdout.split())
    assert before - 0.1 <= started <= after
    assert 0 < elapsed <= after - before + 0.1
    assert started - before < 0.5 * (after - before)  # when the process began, not when the imports were done


def test_without_proc_the_run_began_now(monkeypatch):
    def missing(path, *arguments, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    assert abs(process_start() - datetime.now(UTC)) < timedelta(seconds=5)


def test_elapsed_counts_from_the_start():
    run = RunRecord("1", started_at=datetime.now(UTC) - timedelta(hours=1))
    assert 3600 <= run.elapsed < 3605


# ---- git -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path) -> Path:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "a.txt").write_text("a")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    return tmp_path


def test_the_commit_of_the_code(checkout):
    commit = git_commit(checkout)
    assert len(commit) == 40
    assert set(commit) <= set("0123456789abcdef")
    (checkout / "results").mkdir()
    (checkout / "results" / "new.txt").write_text("results are no change of the code")
    assert git_commit(checkout / "results") == commit


def test_uncommitted_changes_are_told(checkout):
    commit = git_commit(checkout)
    (checkout / "a.txt").write_text("b")
    assert git_commit(checkout) == f"{commit}-dirty"


def test_a_packed_wheel_brings_its_commit(checkout, tmp_path):
    (tmp_path / "commit.txt").write_text("abc-dirty\n")
    assert git_commit(checkout, packaged=tmp_path / "commit.txt") == "abc-dirty"


def test_no_checkout_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) is None
    assert git_commit(tmp_path / "nowhere") is None
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no git
    assert git_commit(tmp_path) is None


# ---- the machine -----------------------------------------------------------------------------------------------------


def test_versions_are_those_installed(monkeypatch):
    monkeypatch.setattr(run_record, "PACKAGES", ("kedro", "no-such-package"))
    assert package_versions() == {"python": ".".join(map(str, sys.version_info[:3])), "kedro": version("kedro")}


def test_versions_of_all_that_shapes_a_result():
    assert {"python", "fruits_pipeline", "kedro", "pillow", "numpy", "pyspark", "onnxruntime"} <= set(
        package_versions()
    )


def test_spark_versions(spark):
    found = spark_versions()
    assert found["spark"] == version("pyspark")
    assert found["master"] == "local[2]"
    assert int(found["java"].split(".")[0]) >= 17


def test_without_a_session_there_are_no_spark_versions(monkeypatch):
    from pyspark import SparkContext

    monkeypatch.setattr(SparkContext, "_active_spark_context", None)
    assert spark_versions() == {}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc on this system")
def test_peak_memory_is_that_of_this_process_and_of_its_largest_worker(monkeypatch):
    import resource

    size = 200
    code = f"import sys; data = bytearray({size} << 20); print('ready', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        monkeypatch.setattr(run_record, "_descendants", lambda pid: [child.pid])  # not Spark's, of other tests
        peaks = peak_memory()
    finally:
        child.communicate()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert abs(peaks["driver_python"] - own) <= 0.1 * own
    assert size <= peaks["largest_worker"] < size + 150


def test_memory_of_processes_that_are_gone(monkeypatch):
    monkeypatch.setattr(run_record, "_descendants", lambda pid: [2**22 + 1])
    assert set(peak_memory()) <= {"driver_python"}


def test_memory_where_there_is_no_proc(monkeypatch):
    def missing(path, *arguments, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(Path, "iterdir", missing)
    assert peak_memory() == {}


def test_descendants_are_found_over_generations():
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
        "'import sys; print(1, flush=True); sys.stdin.read()'], stdout=subprocess.PIPE);"
        "p.stdout.readline(); print(p.pid, flush=True); p.wait()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        grandchild = int(child.stdout.readline())
        assert {child.pid, grandchild} <= set(run_record._descendants(os.getpid()))
    finally:
        child.communicate()


def test_parameters_become_json():
    parameters = {"pca": PcaParameters(variance=0.9), "nested": {"a": PcaParameters(variance=1)}, "n": 1, "none": None}
    found = plain(parameters)
    assert found == {
        "pca": {"variance": 0.9, "n_components": None},
        "nested": {"a": {"variance": 1.0, "n_components": None}},
        "n": 1,
        "none": None,
    }
    assert json.loads(json.dumps(found)) == found
