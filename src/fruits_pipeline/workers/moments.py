"""Count, mean and co-moment of a set of vectors, and how two disjoint sets are merged.

Everything that standardisation and PCA need is in these three; they are exact in one pass, and they add up. Formulas:
T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
(1979), in their matrix form.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from fruits_pipeline.workers.arrays import feature_matrix

PARTIAL_SCHEMA = pa.schema({"count": pa.int64(), "mean": pa.binary(), "comoment": pa.binary()})
"""Columns of a table of partial moments; the arrays are the bytes of float64 in C order."""


@dataclass(frozen=True)
class Moments:
    """Moments of n vectors of length d.

    Attributes:
        count: n.
        mean: (d,) float64.
        comoment: (d, d) float64, the sum over all vectors of (x - mean)(x - mean)ᵀ.
    """

    count: int
    mean: np.ndarray
    comoment: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> Moments:
        """Moments of the rows of a (n, d) matrix, n ≥ 1, summed in float64."""
        values = np.asarray(vectors, dtype=np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        return cls(len(values), mean, centred.T @ centred)

    @classmethod
    def empty(cls, d: int) -> Moments:
        """Moments of no vectors at all: the neutral element of `merge`."""
        return cls(0, np.zeros(d), np.zeros((d, d)))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets together."""
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        count = self.count + other.count
        shift = other.mean - self.mean
        weight = other.count / count
        comoment = self.comoment + other.comoment
        comoment += np.outer(shift * (self.count * weight), shift)
        return Moments(count, self.mean + shift * weight, comoment)


def merge_pairwise(parts: Iterable[Moments]) -> Moments | None:
    """Merges neighbours, then neighbours of the result, and so on: rounding errors grow with log n, not with n.

    Works as a binary counter, so that only log2(number of parts) moments are held at a time.

    Args:
        parts: Moments of disjoint sets, in a fixed order.

    Returns:
        Moments of the union; None if there are no parts.
    """
    stack: list[tuple[int, Moments]] = []
    for part in parts:
        level = 0
        while stack and stack[-1][0] == level:
            part = stack.pop()[1].merge(part)
            level += 1
        stack.append((level, part))
    return _fold([part for _, part in stack])


def _fold(parts: list[Moments]) -> Moments | None:
    """Merges the leftovers of the binary counter, smallest first."""
    if not parts:
        return None
    return functools.reduce(lambda right, left: left.merge(right), reversed(parts))


@dataclass(frozen=True)
class PartialMoments:
    """Moments of the features of one partition, for `mapInArrow`.

    Attributes:
        block_rows: Rows per matrix product.
    """

    block_rows: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turns batches with a column `features` into one row of moments; none for an empty partition."""
        with threadpool_limits(1):  # one task, one core
            merged = merge_pairwise(Moments.of(block) for block in self._blocks(batches))
        if merged is not None:
            yield pack(merged)

    def _blocks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[np.ndarray]:
        for batch in batches:
            matrix = feature_matrix(batch.column("features"))
            for start in range(0, len(matrix), self.block_rows):
                yield matrix[start : start + self.block_rows]


def merge_partials(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Merges rows of partial moments into one, for `mapInArrow`."""
    rows = (row for batch in batches for row in batch.to_pylist())
    merged = merge_pairwise(unpack(row["count"], row["mean"], row["comoment"]) for row in rows)
    if merged is not None:
        yield pack(merged)


def pack(moments: Moments) -> pa.RecordBatch:
    """One row of `PARTIAL_SCHEMA`."""
    columns = [
        pa.array([moments.count], pa.int64()),
        pa.array([moments.mean.tobytes()], pa.binary()),
        pa.array([moments.comoment.tobytes()], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["count", "mean", "comoment"])


def unpack(count: int, mean: bytes, comoment: bytes) -> Moments:
    """Reads what `pack` wrote."""
    vector = np.frombuffer(mean)
    return Moments(count, vector, np.frombuffer(comoment).reshape(len(vector), len(vector)))
