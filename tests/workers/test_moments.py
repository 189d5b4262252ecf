"""Moments add up, in whatever pieces the vectors come, and stay right where sums of squares do not."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruits_pipeline.workers.moments import Moments, merge_pairwise

quick = settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

matrices = st.builds(
    lambda seed, n, d, spread: np.random.default_rng(seed).normal(1.0, 10.0**spread, (n, d)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.integers(1, 6),
    st.integers(-2, 3),
)
"""(n, d) normal vectors; their mean may be far larger than their spread, or far smaller."""


def assert_same(found: Moments, expected: Moments, tolerance: float = 1e-12) -> None:
    """Compares relative to the largest mean and the largest variance: entries may be 0 but for rounding."""
    assert found.count == expected.count
    scale = np.abs(expected.mean).max() + np.sqrt(np.diagonal(expected.comoment).max() / expected.count)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(found.comoment, expected.comoment, rtol=0, atol=tolerance * expected.count * scale**2)


def pieces(vectors: np.ndarray, cuts: list[int]) -> list[Moments]:
    bounds = sorted({0, len(vectors), *(cut % (len(vectors) + 1) for cut in cuts)})
    return [Moments.of(vectors[start:stop]) for start, stop in itertools.pairwise(bounds)]


def exact(vectors: np.ndarray) -> tuple[list[Fraction], list[list[Fraction]]]:
    """Mean and co-moment in rational arithmetic: no rounding at all."""
    columns = [[Fraction(float(value)) for value in column] for column in vectors.T]
    means = [sum(column) / len(column) for column in columns]
    centred = [[value - mean for value in column] for column, mean in zip(columns, means, strict=True)]
    return means, [[sum(a * b for a, b in zip(x, y, strict=True)) for y in centred] for x in centred]


def test_moments_by_hand():
    moments = Moments.of(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert moments.count == 2
    np.testing.assert_array_equal(moments.mean, [2, 4])
    np.testing.assert_array_equal(moments.comoment, [[2, 4], [4, 8]])


@quick
@given(matrices)
def test_moments_are_those_of_numpy(vectors):
    moments = Moments.of(vectors)
    expected = Moments(
        len(vectors), vectors.mean(axis=0), np.atleast_2d(np.cov(vectors, rowvar=False, bias=True)) * len(vectors)
    )
    assert_same(moments, expected)


@quick
@given(matrices, st.lists(st.integers(0, 100), max_size=20))
def test_any_split_merges_to_the_same_moments(vectors, cuts):
    merged = merge_pairwise(pieces(vectors, cuts))
    assert_same(merged, Moments.of(vectors))


@quick
@given(matrices, st.lists(st.integers(0, 100), max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_the_pieces_plays_no_part(vectors, cuts, random):
    parts = pieces(vectors, cuts)
    random.shuffle(parts)
    assert_same(merge_pairwise(parts), Moments.of(vectors))


@quick
@given(matrices, matrices)
def test_merge_commutes(first, second):
    d = min(first.shape[1], second.shape[1])
    a, b = Moments.of(first[:, :d]), Moments.of(second[:, :d])
    assert_same(a.merge(b), b.merge(a))


@given(matrices)
@settings(quick, max_examples=30)
def test_empty_is_neutral(vectors):
    moments, empty = Moments.of(vectors), Moments.empty(vectors.shape[1])
    assert moments.merge(empty) is moments
    assert empty.merge(moments) is moments
    assert empty.merge(empty).count == 0


def test_no_parts_no_moments():
    assert merge_pairwise([]) is None


def test_merging_leaves_its_inputs_alone():
    a, b = Moments.of(np.array([[1.0], [2.0]])), Moments.of(np.array([[5.0]]))
    before = [(part.count, part.mean.copy(), part.comoment.copy()) for part in (a, b)]
    a.merge(b)
    for part, (count, mean, comoment) in zip((a, b), before, strict=True):
        assert part.count == count
        np.testing.assert_array_equal(part.mean, mean)
        np.testing.assert_array_equal(part.comoment, comoment)


@pytest.mark.parametrize("n_parts", [1, 2, 7, 64, 100])
def test_badly_conditioned_data(n_parts):
    """Mean 1e6, spread 1e-3: the sum of squares minus n mean² has no correct digit here (checked below)."""
    vectors = 1e6 + 1e-3 * np.random.default_rng(3).normal(size=(100, 3))
    merged = merge_pairwise(Moments.of(part) for part in np.array_split(vectors, n_parts))
    means, comoments = exact(vectors)
    np.testing.assert_allclose(merged.mean, np.array(means, float), rtol=1e-15)
    diagonal = np.diagonal(np.array(comoments, float))
    np.testing.assert_allclose(merged.comoment, np.array(comoments, float), rtol=0, atol=1e-6 * diagonal.min())
    naive = (vectors**2).sum(axis=0) - len(vectors) * vectors.mean(axis=0) ** 2
    assert (np.abs(naive - diagonal) > diagonal).any()


def test_float32_is_summed_in_float64():
    vectors = np.full((4097, 2), 0.1, np.float32)
    vectors[0] = 1e4
    moments = Moments.of(vectors)
    assert moments.mean.dtype == moments.comoment.dtype == np.float64
    means, comoments = exact(vectors)
    np.testing.assert_allclose(moments.mean, np.array(means, float), rtol=1e-12)
    np.testing.assert_allclose(moments.comoment, np.array(comoments, float), rtol=1e-12)


def test_only_a_logarithm_of_the_parts_is_held(monkeypatch):
    """The parts are consumed one by one: a partition's moments are 13 MB each."""
    alive = 0

    class Counted(Moments):
        def __new__(cls, *args):
            nonlocal alive
            alive += 1
            return super().__new__(cls)

        def __del__(self):
            nonlocal alive
            alive -= 1

        def merge(self, other):
            merged = super().merge(other)
            return Counted(merged.count, merged.mean, merged.comoment)

    most = 0

    def parts():
        nonlocal most
        for i in range(1000):
            yield Counted(1, np.array([float(i)]), np.zeros((1, 1)))
            most = max(most, alive)

    merged = merge_pairwise(parts())
    assert merged.count == 1000
    assert merged.mean[0] == pytest.approx(499.5, rel=1e-12)
    assert most <= 14
