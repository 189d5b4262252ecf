"""Of several runs on one output, one works; a dead one is no obstacle."""

import dataclasses
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from fruits_pipeline.errors import LockedError
from fruits_pipeline.lock import LIVES, NAME, Holder, LocalPlace, OutputLock, S3Place, place_of

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lock(tmp_path, clock):
    """Makes locks of the folder; all are released after the test."""
    made = []

    def make(run_id: str) -> OutputLock:
        made.append(OutputLock(LocalPlace(tmp_path), str(tmp_path), run_id, clock))
        return made[-1]

    yield make
    for one in made:
        one.release()


def holder(tmp_path) -> dict:
    return json.loads((tmp_path / NAME).read_text())


def of_another_machine(tmp_path) -> None:
    """Rewrites the lock as if a process elsewhere held it."""
    found = holder(tmp_path)
    (tmp_path / NAME).write_text(json.dumps({**found, "machine": "elsewhere", "host": "node7", "pid": 99}))


def test_the_second_run_is_refused_with_the_name_of_the_first(lock, tmp_path):
    lock("run 1").acquire()
    with pytest.raises(LockedError, match=r"run run 1, process \d+ on .*--params=output=DIR"):
        lock("run 2").acquire()
    assert holder(tmp_path)["run_id"] == "run 1"


def test_after_the_end_of_a_run_the_next_one_may_work(lock, tmp_path):
    first = lock("run 1")
    first.acquire()
    first.release()
    assert list(tmp_path.iterdir()) == []
    lock("run 2").acquire()
    assert holder(tmp_path)["run_id"] == "run 2"


def test_a_lock_that_nobody_renews_ends(lock, tmp_path, clock):
    lock("run 1").acquire()
    of_another_machine(tmp_path)
    clock.now = START + LIVES - timedelta(seconds=1)
    with pytest.raises(LockedError, match="on node7"):
        lock("run 2").acquire()
    clock.now = START + LIVES
    lock("run 2").acquire()
    assert holder(tmp_path)["run_id"] == "run 2"


def test_a_renewed_lock_lives_on(lock, tmp_path, clock):
    first = lock("run 1")
    first.acquire()
    clock.now = START + timedelta(seconds=100)
    first.renew()
    of_another_machine(tmp_path)
    clock.now = START + timedelta(seconds=200)
    with pytest.raises(LockedError):
        lock("run 2").acquire()


def test_who_slept_too_long_learns_that_the_lock_is_another_ones(lock, tmp_path, clock):
    first, second = lock("run 1"), lock("run 2")
    first.acquire()
    first.check()
    clock.now = START + LIVES
    of_another_machine(tmp_path)
    second.acquire()
    with pytest.raises(LockedError, match="run 2 took over"):
        first.check()
    first.release()
    assert holder(tmp_path)["run_id"] == "run 2"
    second.renew()
    second.check()


def test_who_stands_still_on_this_machine_is_not_dead(lock, tmp_path, clock):
    """Ctrl-Z, or a closed laptop: the run will go on, and nobody may have touched what it was writing."""
    first = lock("run 1")
    first.acquire()
    clock.now = START + 10 * LIVES
    with pytest.raises(LockedError, match="run run 1"):
        lock("run 2").acquire()
    first.check()
    assert datetime.fromisoformat(holder(tmp_path)["until"]) == clock.now + LIVES  # it has said so at once


HOLD = """
import sys, time
from pathlib import Path
from fruits_pipeline.lock import LocalPlace, OutputLock
OutputLock(LocalPlace(Path(sys.argv[1])), sys.argv[1], sys.argv[2]).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_taken_at_once(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), "run 1"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        second = OutputLock(LocalPlace(tmp_path), str(tmp_path), "run 2")
        with pytest.raises(LockedError, match=f"process {process.pid} "):
            second.acquire()
        process.kill()
        process.wait()
    second.acquire()
    assert holder(tmp_path)["run_id"] == "run 2"
    second.release()


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path):
    """Twenty threads at once, ten times: compare-and-replace is one step."""
    for turn in range(10):
        dead = dataclasses.replace(Holder.this_process("dead", START), born=1)
        (tmp_path / NAME).write_bytes(dead.to_json())
        locks = [OutputLock(LocalPlace(tmp_path), str(tmp_path), f"run {turn} {i}") for i in range(20)]
        results, barrier = [], threading.Barrier(len(locks))

        def take(one, results=results, barrier=barrier):
            barrier.wait()
            try:
                one.acquire()
                results.append(one)
            except LockedError:
                pass

        threads = [threading.Thread(target=take, args=[one]) for one in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 1
        results[0].release()
        assert list(tmp_path.iterdir()) == []


def test_something_else_in_the_place_of_the_lock_is_not_overwritten(lock, tmp_path):
    (tmp_path / NAME).write_text("keep me")
    with pytest.raises(LockedError, match=r"no lock of this program.*Remove it"):
        lock("run 1").acquire()
    assert (tmp_path / NAME).read_text() == "keep me"


def test_a_lock_survives_json():
    one = Holder.this_process("run é", START)
    assert Holder.from_json(one.to_json()) == one


def test_places(tmp_path):
    assert isinstance(place_of(str(tmp_path)), LocalPlace)
    assert isinstance(place_of(f"file://{tmp_path}"), LocalPlace)
    assert isinstance(place_of("s3a://bucket/a/b"), S3Place)
    assert place_of("memory://x") is None
