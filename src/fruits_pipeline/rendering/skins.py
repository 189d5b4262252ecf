"""Textures: layers that recolour and emboss a surface, read in object space so that they turn with it."""

from dataclasses import dataclass

import numpy as np

from fruits_pipeline.rendering.noise import (
    Array,
    Mask,
    Rng,
    cell_distance,
    fractal,
    hsv,
    random_unit,
    scattered_seeds,
    smoothstep,
    waves,
)
from fruits_pipeline.rendering.shading import Paint
from fruits_pipeline.rendering.shapes import Hit


@dataclass
class Skin:
    """A surface being painted: every layer changes it in place.

    Attributes:
        hit: the pixels.
        rgb: `(3, n)` colours.
        height: `(n,)` relief.
        gloss: `(n,)` strength of the highlight.
    """

    hit: Hit
    rgb: Array
    height: Array
    gloss: Array

    @classmethod
    def plain(cls, hit: Hit, colour: Array, gloss: float = 1.0) -> "Skin":
        """Starts from one colour `(3,)`."""
        count = len(hit.index)
        rgb = np.repeat(colour[:, None], count, axis=1)
        return cls(hit, rgb, np.zeros(count), np.full(count, gloss))

    def paint(self) -> Paint:
        """Finishes: clips the colours."""
        return Paint(np.clip(self.rgb, 0.0, 1.2), self.height, self.gloss)

    def mix(self, colour: Array, weight: Array) -> None:
        """Lays a colour `(3,)` over the surface with an opacity `(n,)` in [0, 1]."""
        self.rgb += (colour[:, None] - self.rgb) * weight

    def shade(self, factor: Array) -> None:
        """Multiplies the brightness by `(n,)`."""
        self.rgb *= factor


def blush(skin: Skin, rng: Rng, colour: Array, strength: float = 0.9, sharpness: float = 0.5) -> None:
    """Colours one side, as the sun does: a soft, uneven edge in a random direction."""
    toward = random_unit(rng)
    edge = toward @ skin.hit.unit + 0.35 * fractal(skin.hit.unit, rng, 3.0)
    shift = rng.uniform(-0.5, 0.5)
    skin.mix(colour, strength * smoothstep(shift - sharpness, shift + sharpness, edge))


def pole_tint(skin: Skin, colour: Array, end: int, spread: float, strength: float = 0.9) -> None:
    """Colours the surroundings of one end of the axis (`end` 1 top, -1 bottom) within `spread` in cosine."""
    skin.mix(colour, strength * smoothstep(1.0 - spread, 1.0, skin.hit.unit[2] * end))


def ends(skin: Skin, colour: Array, start: float, full: float, strength: float) -> None:
    """Colours both ends of a long fruit: from height `start` in object units, wholly from `full` on."""
    skin.mix(colour, strength * smoothstep(start, full, np.abs(skin.hit.point[2])))


def crease(skin: Skin, width: float, relief: float, colour: Array) -> None:
    """Draws the seam of a peach, a groove down one meridian, `width` radians wide."""
    side = np.where(skin.hit.unit[0] > 0, np.abs(skin.hit.unit[1]), np.inf)
    groove = np.exp(-((side / width) ** 2)) * smoothstep(0.0, 0.4, skin.hit.unit[0])
    skin.height -= relief * groove
    skin.mix(colour, 0.35 * groove**2)


def achenes(skin: Skin, rng: Rng, colour: Array, count: int) -> None:
    """Sets the seeds of a strawberry, each in its own small hollow."""
    seeds = scattered_seeds(rng, count, 0.25)
    distance, _ = cell_distance(skin.hit.unit, seeds)
    hollow = smoothstep(0.42, 0.1, distance)
    skin.height -= 5.0 * hollow
    skin.shade(1.0 - 0.25 * hollow)
    skin.mix(colour, 0.95 * smoothstep(0.2, 0.12, distance))


def meridians(skin: Skin, rng: Rng, colour: Array, count: int, strength: float, waviness: float) -> None:
    """Paints stripes from pole to pole, `count` of them, frayed by noise."""
    angle = skin.hit.azimuth * count + waviness * fractal(skin.hit.unit, rng, 4.0)
    skin.mix(colour, strength * smoothstep(0.0, 0.8, np.sin(angle)))


def streaks(skin: Skin, rng: Rng, colour: Array, strength: float, fineness: float = 14.0) -> None:
    """Paints the fine broken streaks of apples: noise drawn out along the axis."""
    stretched = skin.hit.unit * np.array([[fineness], [fineness], [1.2]])
    skin.mix(colour, strength * smoothstep(-0.2, 1.4, fractal(stretched, rng, 1.0, octaves=2)))


def bands(skin: Skin, rng: Rng, colour: Array, count: float, strength: float) -> None:
    """Paints rings about the axis."""
    phase = skin.hit.unit[2] * count + 0.6 * waves(skin.hit.unit, rng, 3.0)
    skin.mix(colour, strength * smoothstep(0.0, 0.9, np.sin(phase + rng.uniform(0, 6))))


def mottle(skin: Skin, rng: Rng, frequency: float, depth: float) -> None:
    """Varies the brightness by a fraction `depth` with a few octaves of noise."""
    skin.shade(1.0 + depth * fractal(skin.hit.point, rng, frequency, octaves=3))


def patches(skin: Skin, rng: Rng, colour: Array, frequency: float, level: float, strength: float) -> None:
    """Paints blotches where noise exceeds `level` standard deviations."""
    field = fractal(skin.hit.point, rng, frequency, octaves=3)
    skin.mix(colour, strength * smoothstep(level, level + 0.7, field))


def speckles(
    skin: Skin, rng: Rng, colour: Array, count: int, size: float, strength: float, relief: float = 0.0
) -> None:
    """Dots the surface: `count` spots over the whole sphere, `size` in units of their spacing."""
    seeds = scattered_seeds(rng, count, 1.0)
    distance, nearest = cell_distance(skin.hit.unit, seeds)
    radius = size * rng.uniform(0.4, 1.3, size=count)[nearest]
    dot = smoothstep(0.0, 1.0, 1.4 - distance / radius)
    skin.mix(colour, strength * dot)
    skin.height += relief * dot


def flecks(skin: Skin, rng: Rng, colour: Array, frequency: float, level: float, strength: float) -> None:
    """Dots the surface with the peaks of a fine noise: many small specks, cheaper than `speckles`."""
    peaks = waves(skin.hit.unit, rng, frequency, count=9)
    skin.mix(colour, strength * smoothstep(level, level + 0.5, peaks))


def bumps(skin: Skin, rng: Rng, count: int, relief: float, dark: float, jitter: float = 0.3) -> None:
    """Covers the surface with rounded bumps, darker in the gaps between them."""
    distance, nearest = cell_distance(skin.hit.unit, scattered_seeds(rng, count, jitter))
    dome = 1.0 - np.minimum(distance * 1.6, 1.0) ** 2
    skin.height += relief * dome
    skin.shade((1.0 - dark * (1.0 - dome)) * rng.uniform(0.85, 1.1, size=count)[nearest])


def pores(skin: Skin, rng: Rng, frequency: float, relief: float, dark: float = 0.05) -> None:
    """Embosses fine noise of one scale, as on citrus peel."""
    field = waves(skin.hit.point, rng, frequency, count=9)
    skin.height += relief * field
    skin.shade(1.0 - dark * smoothstep(0.5, 2.0, -field))


def net(skin: Skin, rng: Rng, colour: Array, frequency: float, width: float, strength: float) -> None:
    """Lays a raised mesh over the surface, as on melons: the zero lines of two noises."""
    a = np.abs(fractal(skin.hit.point, rng, frequency, octaves=2))
    b = np.abs(fractal(skin.hit.point, rng, frequency * 1.3, octaves=2))
    line = smoothstep(0.0, width, width - np.minimum(a, b))
    skin.mix(colour, strength * line)
    skin.height += 1.5 * line


def fuzz(skin: Skin, rng: Rng, depth: float) -> None:
    """Adds hair-fine noise to colour and relief: kiwi, peach, coconut."""
    noise = rng.normal(size=len(skin.height))
    skin.shade(1.0 + depth * noise)
    skin.height += depth * 2.0 * noise
    skin.gloss *= 0.3


def flesh(skin: Skin, cut: Mask, rng: Rng, palette: "Flesh") -> None:
    """Paints the face of a cut: skin, pith, flesh with segments, core and seeds.

    Args:
        skin: the surface; only the pixels of `cut` change.
        cut: `(n,)` the pixels inside the skin.
        rng: source of noise.
        palette: what is inside.
    """
    r = skin.hit.ratio[cut]
    angle = skin.hit.azimuth[cut] if palette.across else np.arctan2(skin.hit.unit[2], skin.hit.unit[0])[cut]
    face = Skin.plain(skin.hit.where(cut), palette.body, 0.5)
    noise = fractal(face.hit.point, rng, 9.0)
    face.mix(palette.core, smoothstep(palette.core_size + 0.12, palette.core_size - 0.02, r + 0.03 * noise))
    if palette.segments:
        wedge = np.abs(np.sin(angle * palette.segments / 2.0)) * r
        face.mix(palette.pith, 0.8 * smoothstep(0.09, 0.02, wedge))
    face.shade(1.0 + palette.grain * waves(np.stack([angle * 9.0, r * 2.0, r]), rng, 2.0) + 0.03 * noise)
    if palette.seeds:
        spoke = np.cos(angle * palette.seeds) * 0.5 + 0.5
        ring = np.exp(-(((r - palette.seed_radius) / 0.09) ** 2))
        face.mix(palette.seed, smoothstep(0.55, 0.75, spoke * ring))
    face.mix(palette.pith, smoothstep(0.9 - palette.rind, 0.94 - palette.rind, r))
    face.mix(palette.skin, smoothstep(0.95, 0.97, r))
    skin.rgb[:, cut], skin.height[cut], skin.gloss[cut] = face.rgb, 0.6 * noise, face.gloss


@dataclass(frozen=True)
class Flesh:
    """The inside of a fruit: colours `(3,)`, sizes relative to the radius, and counts.

    `across` tells a cut across the axis (round, segments about the axis) from one along it.
    """

    body: Array
    core: Array
    pith: Array
    seed: Array
    skin: Array
    core_size: float = 0.15
    segments: int = 0
    seeds: int = 0
    seed_radius: float = 0.3
    rind: float = 0.02
    grain: float = 0.05
    across: bool = True


def leaf_skin(hit: Hit, rng: Rng, colour: Array) -> Paint:
    """Paints a leaf: midrib, side veins, mottling. `hit.point` holds (along, across) in leaf units."""
    skin = Skin.plain(hit, colour, 0.5)
    along, across = hit.point[0], hit.point[1]
    veins = np.sin((along * rng.uniform(1.0, 2.0) - np.abs(across) * 0.5) * 40.0)
    skin.shade(1.0 + 0.12 * smoothstep(0.6, 1.0, veins))
    skin.shade(1.0 + 0.08 * waves(hit.point, rng, 8.0))
    skin.mix(np.minimum(colour * 1.5 + 0.08, 1.0), 0.7 * smoothstep(0.08, 0.02, np.abs(across)))
    return skin.paint()


def wild_colour(rng: Rng) -> Array:
    """Draws any colour a thing might have, those of fruit more often: `(3,)`."""
    style = rng.uniform()
    if style < 0.5:
        # Red through orange and yellow to green: most fruit.
        return hsv(rng.uniform(-0.06, 0.33), rng.uniform(0.5, 1.0), rng.uniform(0.35, 1.0))
    if style < 0.65:
        return hsv(rng.uniform(), rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0))
    if style < 0.8:
        return hsv(rng.uniform(), rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.4))
    if style < 0.92:
        return hsv(rng.uniform(0.02, 0.15), rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.8))
    return hsv(rng.uniform(), rng.uniform(0.0, 0.3), rng.uniform(0.6, 1.0))
