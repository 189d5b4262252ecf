"""Seconds by stage, handed over once."""

import time

import pytest

from fruits_pipeline.workers.clock import StageClock


class Total:
    """An accumulator that keeps every term."""

    def __init__(self):
        self.terms = []

    def add(self, term):
        self.terms.append(term)


def test_seconds_go_to_their_own_stage_and_are_handed_over_once():
    sums = {"a": Total(), "b": Total()}
    clock = StageClock(sums)
    for _ in range(2):
        with clock("a"):
            time.sleep(0.01)
    clock.hand_over()
    clock.hand_over()
    assert sums["a"].terms[0] >= 0.02
    assert sums["a"].terms[1:] == [0.0]
    assert sums["b"].terms == [0.0, 0.0]


def test_a_stage_that_fails_counts_and_the_error_passes():
    total = Total()
    clock = StageClock({"a": total})
    context = clock("a")
    context.__enter__()
    time.sleep(0.01)
    with pytest.raises(ValueError, match="inside"):
        context.gen.throw(ValueError("inside"))
    clock.hand_over()
    assert total.terms[0] >= 0.01


def test_an_iterator_is_measured_and_its_consumer_is_not():
    total = Total()
    clock = StageClock({"a": total})

    def slow():
        for i in range(3):
            time.sleep(0.01)
            yield i

    for _ in clock.each("a", slow()):
        time.sleep(0.05)
    clock.hand_over()
    assert 0.03 <= total.terms[0] < 0.15


def test_stages_nobody_asked_for_are_not_measured():
    clock = StageClock({})
    with clock("a"):
        pass
    assert list(clock.each("a", [1, 2])) == [1, 2]
    clock.hand_over()
