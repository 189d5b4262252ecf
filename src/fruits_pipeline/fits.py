"""What a fit is: scaler and components that belong together, their identity, and how far two of them are apart."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

Arrays = dict[str, np.ndarray]

ARRAYS: Final = ("mean", "scale", "components", "explained_variance", "explained_variance_ratio", "total_variance")
"""The arrays of a fit: those of the scaler, then those of the PCA."""


@dataclass(frozen=True)
class FitCard:
    """Which fit made a row of `reduced_features`.

    Attributes:
        fit: 16 hex digits over the encoder and all arrays; equal fits project alike.
        encoder: Fingerprint of the encoder whose features were fitted.
        run_id: The run that fitted it first.
        n_images: How many images it was fitted on.
        n_components: k.
        variance_reached: Share of the variance that the components hold.
        parameters: Those of the PCA.
        git_commit: Of the code that fitted it.
        compared: With the fit before it, from `compare_fits`; empty for the first.
    """

    fit: str
    encoder: str
    run_id: str
    n_images: int
    n_components: int
    variance_reached: float
    parameters: dict[str, Any] = field(default_factory=dict)
    git_commit: str | None = None
    compared: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Fit:
    """A card and the arrays named in `ARRAYS`."""

    card: FitCard
    arrays: Arrays = field(repr=False)


def fingerprint_of(encoder: str, arrays: Arrays) -> str:
    """16 hex digits over the encoder's fingerprint and the bytes of all arrays."""
    digest = hashlib.sha256(encoder.encode())
    for name in ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name], np.float64).tobytes())
    return digest.hexdigest()[:16]


def compare_fits(new: Arrays, old: Fit) -> dict[str, Any]:
    """How far the axes of a fit lie from those of another.

    An axis is a row of `components` / `scale`: the direction in the space of the features along which a coordinate of
    `pca_features` grows. The principal angles between the two sets of axes say how far the subspaces are apart,
    whatever the order and sign of the axes; the angles of single axes say how far each coordinate has turned.

    Args:
        new: Arrays of the new fit.
        old: The other fit.

    Returns:
        `with` (fingerprint of the other fit), `n_components` of both, `principal_angles` in degrees (`median`,
        `largest`), and `axes`, the angles in degrees of the first five pairs of axes (0 … 90).
    """
    ours, theirs = (arrays["components"] / arrays["scale"] for arrays in (new, old.arrays))
    angles = principal_angles(ours, theirs)
    summary = {"median": float(np.median(angles)), "largest": float(angles.max())} if len(angles) else {}
    return {
        "with": old.card.fit,
        "n_components": [len(theirs), len(ours)],
        "principal_angles": {name: round(angle, 4) for name, angle in summary.items()},
        "axes": [round(angle, 4) for angle in angles_of_axes(ours, theirs)[:5].tolist()],
    }


def principal_angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Principal angles between the spaces that two sets of rows span.

    Cosines alone lose small angles to rounding, so those come from sines (Björck and Golub 1973, Numerical methods for
    computing angles between linear subspaces, section 3).

    Args:
        one: (k, d) linearly independent rows.
        other: (l, d) linearly independent rows.

    Returns:
        (min(k, l),) degrees, smallest first, 0 … 90.
    """
    larger, smaller = sorted((np.linalg.qr(rows.T)[0] for rows in (one, other)), key=lambda q: -q.shape[1])
    cosines = np.linalg.svd(larger.T @ smaller, compute_uv=False)
    sines = np.linalg.svd(smaller - larger @ (larger.T @ smaller), compute_uv=False)[::-1]
    angles = np.where(cosines**2 > 0.5, np.arcsin(np.clip(sines, 0, 1)), np.arccos(np.clip(cosines, 0, 1)))
    degrees: np.ndarray = np.degrees(np.sort(angles))
    return degrees


def angles_of_axes(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles between the first rows, the second rows, … of two sets, whatever their signs.

    Args:
        one: (k, d).
        other: (l, d).

    Returns:
        (min(k, l),) degrees, 0 … 90.
    """
    pairs = min(len(one), len(other))
    ours, theirs = (rows[:pairs] / np.linalg.norm(rows[:pairs], axis=1, keepdims=True) for rows in (one, other))
    signs = np.where(np.einsum("ij,ij->i", ours, theirs) < 0, -1.0, 1.0)[:, None]
    # Kahan's formula: exact for small angles, where arccos of nearly 1 is not.
    difference, total = (np.linalg.norm(ours + sign * signs * theirs, axis=1) for sign in (-1, 1))
    degrees: np.ndarray = np.degrees(2 * np.arctan2(difference, total))
    return degrees
