"""The lock of an output folder in a bucket: S3 itself says who was first, even where its answers get lost."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fruits_pipeline.errors import LockedError
from fruits_pipeline.lock import LIVES, NAME, Holder, OutputLock, S3Place

from .s3_proxy import Fault

pytestmark = pytest.mark.slow


@pytest.fixture
def place(folder) -> S3Place:
    return S3Place(folder.bucket, folder.prefix)


@pytest.fixture
def lock(place, folder):
    """Makes locks of the folder; all are released after the test."""
    made = []

    def make(run_id: str) -> OutputLock:
        made.append(OutputLock(place, folder.root, run_id))
        return made[-1]

    yield make
    for one in made:
        one.release()


def writes(proxy) -> int:
    return len([request for request in proxy.requests if request.method == "PUT" and request.key.endswith(NAME)])


def break_first_writes(proxy, count: int, fault: Fault) -> None:
    last = writes(proxy) + count

    def meets(request) -> bool:
        return request.method == "PUT" and request.key.endswith(NAME) and writes(proxy) <= last

    proxy.fault = lambda request: fault if meets(request) else Fault()


def test_one_run_at_a_time(lock, place):
    first = lock("run 1")
    first.acquire()
    with pytest.raises(LockedError, match=r"Another run writes to s3://.*: run run 1"):
        lock("run 2").acquire()
    first.release()
    assert place.read() is None
    lock("run 2").acquire()


def test_of_many_one_gets_it(lock):
    locks, taken, barrier = [lock(f"run {i}") for i in range(10)], [], threading.Barrier(10)

    def take(one):
        barrier.wait()
        try:
            one.acquire()
            taken.append(one)
        except LockedError:
            pass

    threads = [threading.Thread(target=take, args=[one]) for one in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_a_dead_lock_is_taken_over(lock, place):
    ended = datetime.now(UTC) - LIVES - timedelta(seconds=1)
    elsewhere = replace(Holder.this_process("run 1", ended), machine="elsewhere")
    assert place.create(elsewhere.to_json())
    lock("run 2").acquire()
    assert b'"run 2"' in place.read()[0]


def test_a_stale_version_replaces_and_removes_nothing(place):
    assert place.create(b"one")
    old = place.read()[1]
    assert place.replace(b"two", old)
    assert not place.replace(b"three", old)
    place.remove(old)
    assert place.read()[0] == b"two"
    place.remove(place.read()[1])
    assert not place.replace(b"three", old)
    assert place.read() is None


def test_a_lost_answer_to_the_taking_of_the_lock(lock, place, proxy):
    break_first_writes(proxy, 1, Fault(lost=True))
    one = lock("run 1")
    one.acquire()
    assert b'"run 1"' in place.read()[0]
    one.release()
    assert place.read() is None


def test_a_lost_answer_to_its_renewal(lock, place, proxy):
    one = lock("run 1")
    one.acquire()
    before = place.read()[0]
    break_first_writes(proxy, 1, Fault(lost=True))
    one.renew()
    one.check()
    assert place.read()[0] != before
    one.release()  # of what it knows to be its own
    assert place.read() is None


def test_a_connection_that_breaks_before_the_lock_is_written(lock, place, proxy):
    break_first_writes(proxy, 1, Fault(unsent=True))
    lock("run 1").acquire()
    assert b'"run 1"' in place.read()[0]
