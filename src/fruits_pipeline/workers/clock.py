"""Seconds by kind of work, summed over all workers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Sum(Protocol):
    """What a worker can add to and the driver can read: a Spark accumulator, or a `Total` in the driver itself."""

    def add(self, term: float) -> None:
        """Adds to the sum; in a worker, sent when the task ends."""


@dataclass
class Total:
    """A sum in this process.

    Attributes:
        value: So far.
    """

    value: float = 0.0

    def add(self, term: float) -> None:
        """Adds to the sum."""
        self.value += term


class StageClock:
    """Sums the seconds of one task by stage, and hands them over at its end.

    Two readings of the clock per stage and image are about 0.2 µs. Tasks that Spark repeats count again: the sums are
    the time that was spent, not the time that was needed.
    """

    def __init__(self, sums: Mapping[str, Sum]) -> None:
        """Starts at zero.

        Args:
            sums: The accumulator of each stage; stages without one are not measured.
        """
        self._sums = sums
        self._seconds = dict.fromkeys(sums, 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measures what happens inside the `with` block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, began)

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Measures how long an iterator takes for each of its items."""
        iterator = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._add(stage, began)
            yield item

    def _add(self, stage: str, began: float) -> None:
        if stage in self._seconds:
            self._seconds[stage] += time.perf_counter() - began

    def hand_over(self) -> None:
        """Adds the seconds so far to the sums, and starts again at zero."""
        for stage, total in self._sums.items():
            total.add(self._seconds[stage])
            self._seconds[stage] = 0.0
