"""The identity of a fit, and how far two are apart: rotations by known angles, and scipy's subspace_angles."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.stats import ortho_group

from fruits_pipeline.fits import ARRAYS, Fit, FitCard, angles_of_axes, compare_fits, fingerprint_of, principal_angles

ENCODER = "0123456789abcdef"
SMALL = [1e-7, 1e-5, 0.01]
ANGLES = [0.0, *SMALL, 1.0, 44.999, 45.0, 45.001, 89.0, 90.0 - 2e-7, 90.0]

quick = settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def arrays_of(components: np.ndarray, scale: np.ndarray | None = None) -> dict[str, np.ndarray]:
    k, d = components.shape
    return {
        "mean": np.zeros(d),
        "scale": np.ones(d) if scale is None else scale,
        "components": components,
        "explained_variance": np.ones(k),
        "explained_variance_ratio": np.full(k, 0.1),
        "total_variance": np.array([10.0]),
    }


def fit_of(components: np.ndarray, scale: np.ndarray | None = None, name: str = "f" * 16) -> Fit:
    return Fit(FitCard(name, ENCODER, "r", 10, len(components), 0.95), arrays_of(components, scale))


def turned_by(degrees: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of orthonormal rows, each pair turned by one angle in a plane of its own."""
    angles, k = np.radians(degrees), len(degrees)
    basis = ortho_group.rvs(2 * k + 1, random_state=7)
    ours = basis[:k]
    return ours, np.cos(angles)[:, None] * ours + np.sin(angles)[:, None] * basis[k : 2 * k]


# ---- principal angles ------------------------------------------------------------------------------------------------


def test_principal_angles_of_known_rotations():
    """Also those that cosines or sines alone would lose: 1e-7 degrees from 0 and from 90."""
    found = principal_angles(*turned_by(ANGLES))
    np.testing.assert_allclose(found, sorted(ANGLES), rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("degrees", ANGLES)
def test_principal_angle_of_two_lines_in_the_plane(degrees):
    angle = np.radians(degrees)
    line, other = np.array([[2.0, 0.0]]), np.array([[3 * np.cos(angle), 3 * np.sin(angle)]])
    np.testing.assert_allclose(principal_angles(line, other), [degrees], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(principal_angles(line, -other), [degrees], rtol=1e-6, atol=1e-9)


@quick
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.integers(8, 30), st.integers(-8, 0))
def test_principal_angles_are_those_of_scipy(seed, k, other_k, d, nearness):
    """Of spaces far apart and, with small noise, of near ones; the smaller one first or last."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=(k, d))
    shared = min(k, other_k)
    other = np.vstack([one[:shared], rng.normal(size=(other_k - shared, d))])
    other = other + 10.0**nearness * rng.normal(size=other.shape)
    expected = np.degrees(np.sort(subspace_angles(one.T, other.T)))
    np.testing.assert_allclose(principal_angles(one, other), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(principal_angles(other, one), expected, rtol=1e-5, atol=1e-5)


@quick
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(6, 20))
def test_principal_angles_ignore_order_sign_and_basis(seed, k, d):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, k, d))
    expected = principal_angles(one, other)
    assert (expected >= 0).all()
    assert (expected <= 90 + 1e-9).all()
    assert (np.diff(expected) >= 0).all()
    mixed = rng.normal(size=(k, k)) + 3 * np.eye(k)
    if np.linalg.cond(mixed) < 1e3:
        np.testing.assert_allclose(principal_angles(mixed @ one, other), expected, atol=1e-8)
    np.testing.assert_allclose(principal_angles(-one[rng.permutation(k)], other), expected, atol=1e-8)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    np.testing.assert_allclose(principal_angles(one @ rotation, other @ rotation), expected, atol=1e-8)
    np.testing.assert_allclose(principal_angles(one, mixed @ one), np.zeros(k), atol=1e-7)


def test_a_part_of_a_space_lies_within_it():
    rows = np.random.default_rng(0).normal(size=(6, 20))
    np.testing.assert_allclose(principal_angles(rows[:2], rows), [0, 0], atol=1e-9)
    assert len(principal_angles(rows, rows[:2])) == 2


@pytest.mark.parametrize(("k", "other_k"), [(0, 3), (3, 0), (0, 0)])
def test_without_axes_there_are_no_angles(k, other_k):
    rows = np.random.default_rng(0).normal(size=(3, 5))
    assert principal_angles(rows[:k], rows[:other_k]).shape == (0,)
    assert angles_of_axes(rows[:k], rows[:other_k]).shape == (0,)


# ---- angles of single axes -------------------------------------------------------------------------------------------


def test_angles_of_axes_of_known_rotations():
    ours, theirs = turned_by(ANGLES)
    np.testing.assert_allclose(angles_of_axes(ours, theirs), ANGLES, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(angles_of_axes(5 * ours, -theirs), ANGLES, rtol=1e-6, atol=1e-9)


def test_swapped_axes_are_far_apart_though_their_space_is_the_same():
    axes = np.eye(4)[:2]
    np.testing.assert_allclose(principal_angles(axes, axes[::-1]), [0, 0], atol=1e-12)
    np.testing.assert_allclose(angles_of_axes(axes, axes[::-1]), [90, 90])


def test_pairs_of_axes_end_with_the_shorter_set():
    rows = np.random.default_rng(0).normal(size=(5, 9))
    np.testing.assert_allclose(angles_of_axes(rows, rows[:2]), [0, 0], atol=1e-12)
    np.testing.assert_allclose(angles_of_axes(rows[:3], rows), [0, 0, 0], atol=1e-12)


@quick
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_angles_of_axes_are_those_of_one_dimensional_spaces(seed, d):
    one, other = np.random.default_rng(seed).normal(size=(2, 4, d))
    expected = [principal_angles(a[None], b[None])[0] for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(angles_of_axes(one, other), expected, atol=1e-7)


# ---- the comparison --------------------------------------------------------------------------------------------------


def test_a_fit_compared_with_itself():
    components = ortho_group.rvs(8, random_state=1)[:6]
    assert compare_fits(arrays_of(components), fit_of(components)) == {
        "with": "f" * 16,
        "n_components": [6, 6],
        "principal_angles": {"median": 0.0, "largest": 0.0},
        "axes": [0.0] * 5,
    }


def test_a_fit_compared_with_another():
    """The old number of components comes first; the median and the largest of the angles; the first five axes."""
    ours, theirs = turned_by([10.0, 2.0, 4.0, 30.0, 6.0, 8.0, 50.0])
    compared = compare_fits(arrays_of(ours), fit_of(theirs[:6], name="a" * 16))
    assert compared["with"] == "a" * 16
    assert compared["n_components"] == [6, 7]
    assert compared["principal_angles"] == {"median": pytest.approx(7.0), "largest": pytest.approx(30.0)}
    assert compared["axes"] == [10.0, 2.0, 4.0, 30.0, 6.0]


def test_axes_are_compared_in_the_space_of_the_features():
    """The same components on other scales are other directions: a coordinate grows with component / scale."""
    components = np.array([[1.0, 1.0]]) / np.sqrt(2)
    compared = compare_fits(arrays_of(components, np.array([1.0, 1e9])), fit_of(components, np.array([1.0, 1.0])))
    assert compared["axes"] == [pytest.approx(45.0, abs=1e-4)]
    assert compared["principal_angles"]["largest"] == pytest.approx(45.0, abs=1e-4)


def test_fits_without_components_have_no_angles():
    compared = compare_fits(arrays_of(np.zeros((0, 4))), fit_of(np.eye(4)[:2]))
    assert (compared["principal_angles"], compared["axes"], compared["n_components"]) == ({}, [], [2, 0])


# ---- the identity ----------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_the_encoder_and_of_every_array():
    arrays = arrays_of(np.eye(4)[:2])
    fingerprint = fingerprint_of(ENCODER, arrays)
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    assert fingerprint_of(ENCODER, {name: array.copy() for name, array in reversed(arrays.items())}) == fingerprint
    others = {fingerprint_of("fedcba9876543210", arrays)}
    for name in ARRAYS:
        changed = {**arrays, name: arrays[name] + 0}
        changed[name].flat[-1] += 1e-15
        others.add(fingerprint_of(ENCODER, changed))
    assert len(others - {fingerprint}) == len(ARRAYS) + 1


def test_the_fingerprint_does_not_depend_on_the_layout_in_memory():
    components = np.random.default_rng(0).normal(size=(3, 4))
    assert fingerprint_of(ENCODER, arrays_of(components)) == fingerprint_of(
        ENCODER, arrays_of(np.asfortranarray(components))
    )


def test_a_card_survives_json():
    card = FitCard("f" * 16, ENCODER, "r", 10, 2, 0.95, {"variance": 0.95, "n_components": None}, None, {"axes": [1.0]})
    assert FitCard(**card.to_dict()) == card
    assert "arrays" not in repr(Fit(card, arrays_of(np.eye(4)[:2])))
