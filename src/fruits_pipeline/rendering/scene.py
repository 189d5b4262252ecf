"""A scene: primitives with their paints, framed to fill the picture as the photographs of Fruits-360 are."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from fruits_pipeline.rendering.noise import Array, Rng, hsv, normalised, random_unit
from fruits_pipeline.rendering.shading import Canvas, Light, develop, frame
from fruits_pipeline.rendering.shapes import Body, Hit, Leaf, balls_hit, march
from fruits_pipeline.rendering.skins import Skin, leaf_skin

Painter = Callable[[Hit, Rng], Skin]

# Pixels rendered per pixel kept, along one side: enough to smooth the edges, cheap enough to train on.
_OVERSAMPLING = 1.2


class Scene:
    """A list of primitives; what is added is drawn by `render`."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self._clouds: list[Array] = []
        self._draw: list[Callable[[Canvas, Rng], None]] = []

    def add_body(self, body: Body, painter: Painter) -> None:
        """Adds a solid."""

        def draw(canvas: Canvas, rng: Rng) -> None:
            hit = march(body, canvas.x, canvas.y)
            canvas.put(hit, painter(hit, rng).paint())

        self._clouds.append(body.outline_points())
        self._draw.append(draw)

    def add_balls(self, centres: Array, radii: Array, painter: Painter) -> None:
        """Adds balls: `(m, 3)` centres on the screen and `(m,)` radii."""

        def draw(canvas: Canvas, rng: Rng) -> None:
            hit = balls_hit(centres, radii, canvas.x, canvas.y, canvas.side)
            if hit is not None:
                canvas.put(hit, painter(hit, rng).paint())

        self._clouds.append(np.concatenate([centres.T - radii, centres.T + radii], axis=1))
        self._draw.append(draw)

    def add_stem(self, spine: Array, radius: float, green: float = 0.1) -> None:
        """Adds a stalk along a `(m, 3)` spine; `green` goes from wood (0) to fresh (1)."""
        colour = (1.0 - green) * hsv(0.08, 0.5, 0.3) + green * hsv(0.24, 0.7, 0.55)
        # Balls this close together look like one smooth stalk.
        length = float(np.linalg.norm(np.diff(spine, axis=0), axis=1).sum())
        count = int(np.clip(length / (0.5 * radius), 5, 40))
        position = np.linspace(0.0, len(spine) - 1.0, count)
        beads = np.stack([np.interp(position, np.arange(len(spine)), column) for column in spine.T], axis=1)
        radii = np.linspace(1.0, 0.75, count) * radius
        self.add_balls(beads, radii, lambda hit, rng: Skin.plain(hit, colour, 0.3))

    def add_leaf(self, leaf: Leaf, colour: Array) -> None:
        """Adds a leaf of a colour `(3,)`."""

        def draw(canvas: Canvas, rng: Rng) -> None:
            hit = leaf.hit(canvas.x, canvas.y)
            if hit is not None:
                canvas.put(hit, leaf_skin(hit, rng, colour))

        self._clouds.append(leaf.outline_points())
        self._draw.append(draw)

    def render(self, rng: Rng, size: int, light: Light, margin: float, softness: float) -> Image.Image:
        """Draws everything.

        Args:
            rng: source of the textures' and the sensor's noise.
            size: pixels along a side.
            light: the lamp and the camera.
            margin: white border, as a fraction of the object.
            softness: blur of the lens in [0, 1].

        Returns:
            A `(size, size)` RGB image on white.
        """
        centre, reach = frame(self._clouds, margin)
        canvas = Canvas(max(round(size * _OVERSAMPLING), 2), centre, reach)
        for draw in self._draw:
            draw(canvas, rng)
        return develop(canvas.shade(light, rng), size, softness)


def curved_stem(rng: Rng, base: Array, direction: Array, length: float) -> Array:
    """Draws the spine of a stalk that leaves `base` along `direction` and curves: `(14, 3)`."""
    t = np.linspace(0.0, 1.0, 14)[:, None]
    sideways = random_unit(rng) * rng.uniform(0.0, 0.5) * length
    result: Array = base + direction * length * t + sideways * t**2
    return result


def leaf_at(rng: Rng, base: Array, direction: Array, length: float, width: float) -> Leaf:
    """Makes a leaf that leaves `base` along the unit vector `direction`, rolled at random."""
    across = normalised(np.cross(direction, random_unit(rng) + np.array([0.0, 0.0, 0.8]))) * width
    return Leaf(base, direction, across, length, rng.uniform(0.5, 1.1))
