"""Noise and small numeric helpers: the raw material of every texture."""

import colorsys

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

# The angle between successive seeds of a sunflower: they never line up into visible rows.
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def smoothstep(low: float, high: float, values: Array) -> Array:
    """Goes smoothly from 0 (at `low`) to 1 (at `high`), element by element."""
    t: Array = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def normalised(vectors: Array) -> Array:
    """Scales vectors to length one along the first axis: `(3, ...)` to `(3, ...)`."""
    length: Array = np.sqrt(np.einsum("i...,i...->...", vectors, vectors))
    return vectors / np.maximum(length, 1e-9)


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Turns a colour in [0, 1] HSV (the hue wraps, the others are clipped) into `(3,)` RGB in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)))


def random_unit(rng: Rng) -> Array:
    """Draws one direction `(3,)` uniformly on the sphere."""
    return normalised(rng.normal(size=3))


def waves(points: Array, rng: Rng, frequency: float, count: int = 6) -> Array:
    """Sums random plane waves into smooth 3-D noise of unit variance.

    It has no lattice and no seam, so it can be read at any point of a surface.

    Args:
        points: `(3, n)` positions in object space.
        rng: source of directions and phases.
        frequency: mean angular frequency in radians per unit length.
        count: number of waves; more is closer to Gaussian noise.

    Returns:
        `(n,)` noise values, mean 0, variance about 1.
    """
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    k = directions * (frequency / (2.0 * np.pi) * rng.uniform(0.6, 1.4, size=(count, 1)))
    turns = k @ points + rng.uniform(size=(count, 1))
    # Two parabolas per period stand in for the sine: several times faster, and made of operations that every
    # processor rounds alike, so that a seed gives the same picture everywhere.
    turns -= np.rint(turns)
    result: Array = (turns * (8.0 - 16.0 * np.abs(turns))).sum(axis=0) * np.sqrt(2.0 / count)
    return result


def fractal(points: Array, rng: Rng, frequency: float, octaves: int = 3, gain: float = 0.55) -> Array:
    """Adds octaves of `waves`, each twice as fine and `gain` times as strong; `(3, n)` to `(n,)`."""
    total: Array = waves(points, rng, frequency)
    amplitude, power = 1.0, 1.0
    for octave in range(1, octaves):
        amplitude *= gain
        power += amplitude**2
        total += amplitude * waves(points, rng, frequency * 2.0**octave)
    total /= np.sqrt(power)
    return total


def fibonacci_sphere(count: int) -> Array:
    """Spreads `count` directions evenly over the sphere: `(count, 3)`."""
    rank = np.arange(count) + 0.5
    z = 1.0 - 2.0 * rank / count
    rho = np.sqrt(1.0 - z * z)
    angle = rank * _GOLDEN_ANGLE
    return np.stack([rho * np.cos(angle), rho * np.sin(angle), z], axis=1)


def scattered_seeds(rng: Rng, count: int, jitter: float) -> Array:
    """Spreads seeds over the sphere, from regular (`jitter` 0) to disordered (1): `(count, 3)`."""
    spacing = np.sqrt(4.0 * np.pi / count)
    seeds = fibonacci_sphere(count) + rng.normal(scale=jitter * spacing * 0.5, size=(count, 3))
    return normalised(seeds.T).T


def cell_distance(units: Array, seeds: Array) -> tuple[Array, Indices]:
    """Finds the nearest seed of every direction.

    Args:
        units: `(3, n)` unit directions.
        seeds: `(m, 3)` unit directions.

    Returns:
        The distance to the nearest seed in units of the mean spacing, and its index, both `(n,)`.
    """
    # Single precision finds the seed, in half the time; the distance is then worked out in double.
    nearest = (units.T.astype(np.float32) @ seeds.T.astype(np.float32)).argmax(axis=1)
    cosine = np.einsum("ij,ij->j", seeds.T.take(nearest, axis=1), units)
    chord = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
    return chord / np.sqrt(4.0 * np.pi / len(seeds)), nearest


def box_blur(image: Array, radius: int) -> Array:
    """Averages a `(h, w)` image over squares of side `2 * radius + 1`, its edges repeated."""
    width = 2 * radius + 1
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(image, padding, mode="edge"), axis=axis)
        high, low = (sums[width:], sums[:-width]) if axis == 0 else (sums[:, width:], sums[:, :-width])
        image = (high - low) / width
    return image
