"""From painted surfaces to a photograph: depth buffer, light, soft shadow, grain, white background."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fruits_pipeline.rendering.noise import Array, Rng, box_blur, normalised
from fruits_pipeline.rendering.shapes import Hit


@dataclass(frozen=True)
class Paint:
    """How `n` pixels of a surface look before the light.

    Attributes:
        rgb: `(3, n)` colours in [0, 1].
        height: `(n,)` relief, in thousandths of the picture; the light catches it.
        gloss: `(n,)` strength of the highlight.
    """

    rgb: Array
    height: Array
    gloss: Array


@dataclass(frozen=True)
class Light:
    """The lamp and the camera.

    Attributes:
        direction: `(3,)` unit vector toward the lamp, screen space.
        ambient: light that comes from everywhere, in [0, 1].
        wrap: how far light bleeds round the edge (translucent flesh), in [0, 1].
        shininess: Blinn exponent of the highlight.
        specular: strength of the highlight.
        occlusion: how dark hollows become.
        exposure: factor on everything.
        tint: `(3,)` colour of the light.
        noise: standard deviation of the sensor's noise, in 1/255.
    """

    direction: Array
    ambient: float = 0.35
    wrap: float = 0.2
    shininess: float = 40.0
    specular: float = 0.35
    occlusion: float = 2.5
    exposure: float = 1.0
    tint: Array | None = None
    noise: float = 1.5


def random_light(rng: Rng) -> Light:
    """Draws a light: mostly from above and in front, sometimes grazing, soft or hard."""
    direction = normalised(np.array([rng.normal(0, 0.6), rng.normal(0.4, 0.5), rng.uniform(0.5, 1.5)]))
    return Light(
        direction=direction,
        ambient=rng.uniform(0.15, 0.6),
        wrap=rng.uniform(0.0, 0.5),
        shininess=float(np.exp(rng.uniform(1.5, 5.0))),
        specular=rng.uniform(0.0, 0.8) ** 1.5,
        occlusion=rng.uniform(1.0, 4.0),
        exposure=rng.uniform(0.8, 1.3),
        tint=1.0 + rng.normal(0, 0.04, size=3),
        noise=rng.uniform(0.3, 3.0),
    )


class Canvas:
    """A square depth buffer with colours, normals and relief.

    Args:
        side: pixels along a side.
        centre: `(2,)` screen point in the middle of the picture.
        reach: half the side of the picture in screen units.
    """

    def __init__(self, side: int, centre: Array, reach: float) -> None:
        """Lays out the pixels; nothing is painted yet."""
        self.side = side
        steps = (np.arange(side) + 0.5) / side * 2.0 - 1.0
        self.x = np.tile(centre[0] + steps * reach, side)
        self.y = np.repeat(centre[1] - steps * reach, side)
        self.reach = reach
        self.depth = np.full(side * side, -np.inf)
        self.rgb = np.ones((3, side * side))
        self.normal = np.zeros((3, side * side))
        self.relief = np.zeros(side * side)
        self.gloss = np.zeros(side * side)

    def put(self, hit: Hit, paint: Paint) -> None:
        """Paints a surface wherever it is nearer than what is there."""
        keep = np.flatnonzero(hit.depth > self.depth[hit.index])
        index = hit.index[keep]
        self.depth[index] = hit.depth[keep]
        self.relief[index] = paint.height[keep]
        self.gloss[index] = paint.gloss[keep]
        # Row by row: several times faster than one assignment to columns of a matrix.
        for channel in range(3):
            self.rgb[channel][index] = paint.rgb[channel][keep]
            self.normal[channel][index] = hit.normal[channel][keep]

    def shade(self, light: Light, rng: Rng) -> Array:
        """Lights the painted surfaces: `(side, side, 3)` in [0, 1] on white."""
        normal = self._bumped_normal()
        diffuse = np.maximum((light.direction @ normal + light.wrap) / (1.0 + light.wrap), 0.0)
        half = normalised(light.direction + np.array([0.0, 0.0, 1.0]))
        highlight = np.exp((half @ normal - 1.0) * light.shininess) * self.gloss * light.specular
        sky = light.ambient * (0.7 + 0.3 * normal[1])
        energy = (sky + (1.0 - light.ambient) * diffuse) * self._open_sky(light.occlusion)
        # One sample of noise for the three colours: the sensor's noise is mostly in the brightness.
        speck = highlight + rng.normal(0, light.noise / 255.0, size=len(highlight))
        picture: Array = self.rgb * (energy * 1.25 * light.exposure) + speck
        if light.tint is not None:
            picture *= light.tint[:, None]
        np.copyto(picture, 1.0, where=np.isinf(self.depth))
        np.clip(picture, 0.0, 1.0, out=picture)
        return picture.reshape(3, self.side, self.side).transpose(1, 2, 0)

    def _bumped_normal(self) -> Array:
        """Tilts the normals against the slope of the relief: `(3, n)`."""
        relief = self.relief.reshape(self.side, self.side) * (self.side / 200.0)
        down, right = np.gradient(relief)
        normal = self.normal.copy()
        normal[0] -= right.ravel()
        normal[1] += down.ravel()
        return normalised(normal)

    def _open_sky(self, strength: float) -> Array:
        """Darkens pixels that lie deeper than their neighbourhood: dimples, gaps, the foot of a stem."""
        covered = np.isfinite(self.depth)
        depth = np.where(covered, self.depth, 0.0).reshape(self.side, self.side)
        radius = max(self.side // 14, 1)
        # Averaged over covered pixels only, so that the silhouette does not count as a cliff.
        weight = box_blur(covered.astype(float).reshape(depth.shape), radius)
        mean = box_blur(depth, radius) / np.maximum(weight, 1e-6)
        hollow = np.maximum(mean - depth, 0.0).ravel()
        return 1.0 / (1.0 + strength / self.reach * hollow)


def frame(clouds: Sequence[Array], margin: float) -> tuple[Array, float]:
    """Finds the square that holds point clouds `(3, n)`: its centre `(2,)` and half its side."""
    points = np.concatenate([cloud[:2] for cloud in clouds], axis=1)
    low, high = points.min(axis=1), points.max(axis=1)
    return (low + high) / 2.0, float((high - low).max()) / 2.0 * (1.0 + margin)


def develop(picture: Array, size: int, softness: float) -> Image.Image:
    """Turns a `(side, side, 3)` picture in [0, 1] into a `(size, size)` RGB photograph.

    Args:
        picture: what `Canvas.shade` gave.
        size: pixels along a side.
        softness: mix in [0, 1] between a crisp and a soft lens.
    """
    image = Image.fromarray(np.rint(picture * 255.0).astype(np.uint8))
    crisp = image.resize((size, size), Image.Resampling.BICUBIC)
    if softness <= 0:
        return crisp
    small = max(int(size * 0.55), 1)
    soft = image.resize((small, small), Image.Resampling.BILINEAR)
    return Image.blend(crisp, soft.resize((size, size), Image.Resampling.BICUBIC), softness)
