"""Count, mean and co-moment of a set of vectors, and how two disjoint sets are merged.

Everything that standardisation and PCA need is in these three; they are exact in one pass, and they add up. Formulas:
T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
(1979), in their matrix form.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


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
