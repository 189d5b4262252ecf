"""Geometry: solids of revolution with dimples, lobes, bends and cuts, balls and leaves, and their outlines.

A body is star-shaped after it is straightened and scaled: its surface is `|q| = profile(cos(polar angle))`,
so that one table gives spheres, apples with dimples, pears, lemons and, scaled and bent, bananas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fruits_pipeline.rendering.noise import (
    Array,
    Indices,
    Mask,
    Rng,
    fibonacci_sphere,
    normalised,
    random_unit,
)

_TABLE = 4096
_MARCH_STEPS = 24
_CLOSE = 4e-3


def chaikin(points: Array, rounds: int = 4) -> Array:
    """Rounds the corners of an open polyline `(n, 2)` by cutting them `rounds` times."""
    for _ in range(rounds):
        first, second = points[:-1], points[1:]
        points = np.stack([0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second], axis=1).reshape(-1, 2)
    return points


def profile_from_outline(outline: Sequence[tuple[float, float]]) -> Array:
    """Turns half a silhouette into the table of radii of a solid of revolution.

    Args:
        outline: `(distance from the axis, height)` from the top pole to the bottom pole; seen from the origin
            it must turn one way only (a star-shaped solid).

    Returns:
        `(4096,)` radii over equally spaced cosines of the polar angle, from -1 (bottom) to 1 (top).
    """
    half = np.asarray(outline, dtype=float)
    # Mirrored beyond both poles, so that the surface crosses the axis without a kink.
    mirrored = np.concatenate([half[1:3][::-1] * [-1, 1], half, half[-3:-1][::-1] * [-1, 1]])
    curve = chaikin(mirrored)
    angle = np.arctan2(curve[:, 0], curve[:, 1])
    inside = (np.abs(angle) < np.pi) & (curve[:, 0] > -1e-9)
    order = np.argsort(angle[inside])
    radius = np.hypot(curve[:, 0], curve[:, 1])[inside][order]
    polar = np.arccos(np.linspace(-1.0, 1.0, _TABLE))
    return np.interp(polar, angle[inside][order], radius)


def superellipse_profile(power: float) -> Array:
    """Gives the radii `(4096,)` of a ball (power 2) that turns into a cylinder as the power grows."""
    c = np.linspace(-1.0, 1.0, _TABLE)
    s = np.sqrt(1.0 - c * c)
    return (np.abs(c) ** power + s**power) ** (-1.0 / power)


def _power(z: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """Raises to a small whole power by squaring: numpy's own complex power goes through logarithms."""
    if exponent == 1:
        return z
    half = _power(z, exponent // 2)
    square: NDArray[np.complex128] = half * half
    return square * z if exponent % 2 else square


def rotation(rng: Rng, tilt: float = np.pi, spin: float = np.pi, roll: float = np.pi) -> Array:
    """Draws a `(3, 3)` object-to-screen rotation.

    The object's axis points up the screen at first; it is spun about that axis, tilted toward or away from
    the viewer and rolled in the plane of the screen, each by at most the given angle in radians.
    """
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    on_screen = turn_about(2, rng.uniform(-roll, roll)) @ turn_about(0, rng.uniform(-tilt, tilt))
    result: Array = on_screen @ upright @ turn_about(2, rng.uniform(-spin, spin))
    return result


def turn_about(axis: int, angle: float) -> Array:
    """Rotates by `angle` radians about a coordinate axis."""
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


AXIS_TO_VIEWER = turn_about(0, np.pi / 2.0)
"""After this turn and an upright pose, an object's axis points at the camera."""


def random_dents(rng: Rng, depth: float) -> Array:
    """Draws two low-frequency irregularities for a `Body`, each at most `depth` deep: `(2, 4)`."""
    return np.array([[*random_unit(rng), rng.uniform(0.0, depth)] for _ in range(2)])


@dataclass(frozen=True)
class Body:
    """A solid about its own z axis.

    Attributes:
        profile: `(4096,)` radii over the cosine of the polar angle, see `profile_from_outline`.
        scale: half-axes `(3,)` by which the unit solid is stretched.
        turn: `(3, 3)` object-to-screen rotation.
        offset: `(3,)` position on the screen, z toward the viewer.
        bend: sideways shift per squared height, for bananas.
        lobes: number of lobes about the axis, 0 for none.
        lobe_depth: relative depth of the furrows between lobes.
        dents: `(k, 4)` low-frequency irregularities: a unit direction and an amplitude each.
        cut: `(4,)` plane (normal, distance) that slices the solid in object space, or None.
    """

    profile: Array
    scale: Array
    turn: Array
    offset: Array = field(default_factory=lambda: np.zeros(3))
    bend: float = 0.0
    lobes: int = 0
    lobe_depth: float = 0.0
    dents: Array = field(default_factory=lambda: np.zeros((0, 4)))
    cut: Array | None = None

    @property
    def steepness(self) -> float:
        """Bounds how fast `level` changes per unit of distance: rays may step by level / steepness."""
        polar = np.arccos(np.linspace(-1.0, 1.0, _TABLE)[:: _TABLE // 128])
        profile = self.profile[:: _TABLE // 128]
        slope = float(np.abs(np.diff(profile) / (np.diff(polar) * profile[1:])).max())
        return float(np.hypot(1.0, slope)) + 1.2 * abs(self.bend) + 0.5 * self.lobes * abs(self.lobe_depth)

    def straighten(self, points: Array) -> Array:
        """Undoes the bend and the scale: `(3, n)` object space to `(3, n)` unit space."""
        q = points / self.scale[:, None]
        if self.bend:
            q[0] -= self.bend * (points[2] ** 2 - 0.4) / self.scale[0]
        return q

    def level(self, points: Array) -> Array:
        """Says how far points are outside the solid: `(3, n)` object space to `(n,)`, negative inside."""
        q = self.straighten(points)
        distance = np.sqrt(np.einsum("ij,ij->j", q, q)) + 1e-9
        value: Array = (distance - self.radius(q, distance)) * self.scale.min()
        if self.cut is not None:
            value = np.maximum(value, self.cut[:3] @ points - self.cut[3])
        return value

    def radius(self, q: Array, distance: Array) -> Array:
        """Looks up the surface radius in the direction of unit-space points `(3, n)`: `(n,)`."""
        position = (q[2] / distance + 1.0) * ((_TABLE - 1) / 2.0)
        index = position.astype(np.intp)
        low = self.profile.take(index)
        radius: Array = low + (self.profile.take(index + 1) - low) * (position - index)
        if self.lobes:
            radius *= 1.0 - self.lobe_depth * self._furrow(q, distance)
        if len(self.dents):
            t = self.dents[:, :3] @ q / distance
            radius += self.dents[:, 3] @ (t * (4.0 * t * t - 3.0))
        return radius

    def _furrow(self, q: Array, distance: Array) -> Array:
        """Gives the depth in [0, 1] of the furrows between lobes, fading out at the poles."""
        rho = np.sqrt(q[0] ** 2 + q[1] ** 2) + 1e-9
        z = (q[0] + 1j * q[1]) / rho
        cosine = _power(z, self.lobes).real
        result: Array = (0.5 - 0.5 * cosine) * (rho / distance)
        return result

    def surface_points(self) -> Array:
        """Samples the surface in object space: `(3, n)`."""
        units = fibonacci_sphere(400).T
        points = units * self.radius(units, np.ones(units.shape[1])) * self.scale[:, None]
        points[0] += self.bend * (points[2] ** 2 - 0.4)
        if self.cut is not None:
            above = np.maximum(self.cut[:3] @ points - self.cut[3], 0.0)
            points -= self.cut[:3, None] * above
        return points

    def outline_points(self) -> Array:
        """Samples the surface on the screen, to frame the picture: `(3, n)`."""
        result: Array = self.turn @ self.surface_points() + self.offset[:, None]
        return result

    def to_screen(self, point: Array) -> Array:
        """Places an object-space point `(3,)` on the screen."""
        result: Array = self.turn @ point + self.offset
        return result

    def pole(self, end: int = 1) -> Array:
        """Gives the object-space point `(3,)` where the axis leaves the solid (end 1 top, -1 bottom)."""
        height = self.scale[2] * self.profile[-1 if end > 0 else 0]
        return np.array([self.bend * (height**2 - 0.4), 0.0, end * height])


@dataclass(frozen=True)
class Hit:
    """Where a primitive shows on the screen: `n` pixels.

    Attributes:
        index: `(n,)` flat pixel numbers.
        depth: `(n,)` screen z, larger is nearer.
        normal: `(3, n)` unit screen-space normals.
        point: `(3, n)` object-space positions.
        unit: `(3, n)` unit-space directions, for textures that follow the shape.
        ratio: `(n,)` depth below the skin: 1 on the skin, 0 at the centre (of a cut).
        part: `(n,)` number of the ball a pixel belongs to, 0 for bodies.
    """

    index: Indices
    depth: Array
    normal: Array
    point: Array
    unit: Array
    ratio: Array
    part: Indices

    @property
    def azimuth(self) -> Array:
        """Angle about the axis, `(n,)` radians."""
        result: Array = np.arctan2(self.unit[1], self.unit[0])
        return result

    def where(self, keep: Mask) -> "Hit":
        """Keeps a subset of the pixels."""
        return Hit(
            self.index[keep],
            self.depth[keep],
            self.normal[:, keep],
            self.point[:, keep],
            self.unit[:, keep],
            self.ratio[keep],
            self.part[keep],
        )


def march(body: Body, x: Array, y: Array) -> Hit:
    """Casts one parallel ray per pixel against a body.

    Args:
        body: the solid.
        x: `(p,)` screen positions of the pixels, to the right.
        y: `(p,)` screen positions of the pixels, upward.

    Returns:
        The pixels that hit, with normals from differences of the level function.
    """
    start = body.turn.T @ (np.stack([x, y, np.zeros_like(x)]) - body.offset[:, None])
    ray = -body.turn.T[:, 2:3]
    enter, leave = _bounds(body, start, ray)
    candidate = np.flatnonzero(leave > enter)
    start, leave = start.take(candidate, axis=1), leave[candidate]
    travelled = _settle(body, start, ray, enter[candidate], leave)
    hit = np.flatnonzero(travelled < leave)
    return _body_hit(body, candidate[hit], start.take(hit, axis=1) + ray * travelled[hit], -travelled[hit])


def _bounds(body: Body, start: Array, ray: Array) -> tuple[Array, Array]:
    """Finds where rays enter and leave an ellipsoid round the body: `(n,)` each; leave < enter for a miss."""
    cloud = body.surface_points()
    middle = (cloud.max(axis=1) + cloud.min(axis=1))[:, None] / 2.0
    axes = (cloud.max(axis=1) - cloud.min(axis=1))[:, None] / 2.0
    # The cloud is a sample of the surface: a little is added for what lies between its points.
    bound = 1.03 * np.sqrt((((cloud - middle) / axes) ** 2).sum(axis=0).max())
    origin, direction = (start - middle) / (axes * bound), ray / (axes * bound)
    a = (direction**2).sum()
    b = (origin * direction).sum(axis=0)
    root = b * b - a * ((origin * origin).sum(axis=0) - 1.0)
    half = np.sqrt(np.maximum(root, 0.0))
    return (-b - half) / a, np.where(root > 0, (-b + half) / a, -np.inf)


def _settle(body: Body, start: Array, ray: Array, enter: Array, leave: Array) -> Array:
    """Moves along rays until on the surface: `(n,)` distances, beyond `leave` for those that miss."""
    steep = body.steepness
    result, active, travelled = enter.copy(), np.arange(len(enter)), enter
    points = start + ray * enter
    before, step = np.zeros(len(enter)), np.zeros(len(enter))
    for number in range(_MARCH_STEPS):
        level = body.level(points)
        # By the secant through the last two points: a grazing ray has a small slope, and so a long step. The
        # bounds keep it from jumping over a ridge.
        secant = (before - level) * step / (step * step + 1e-12)
        step = level / (np.clip(secant, 0.4 * steep, steep) if number else 0.8 * steep)
        before = level
        travelled = travelled + step
        points += ray * step
        going = (level > _CLOSE) & (travelled < leave)
        # Dropping the rays that are done costs about as much as a step: worth it when they are many.
        if np.count_nonzero(going) < 0.6 * len(going):
            result[active] = travelled
            keep = np.flatnonzero(going)
            active, travelled, leave = active[keep], travelled[keep], leave[keep]
            before, step, points = before[keep], step[keep], points.take(keep, axis=1)
        if not len(active):
            break
    # The few that are still on their way graze the surface: they count as having arrived.
    result[active] = travelled
    return result


def _body_hit(body: Body, index: Indices, points: Array, depth: Array) -> Hit:
    """Gathers what the textures and the light need to know about the pixels that hit a body."""
    gradient = np.empty_like(points)
    centre = body.level(points)
    for axis in range(3):
        moved = points.copy()
        moved[axis] += 4e-3
        gradient[axis] = body.level(moved) - centre
    q = body.straighten(points)
    distance = np.sqrt(np.einsum("ij,ij->j", q, q)) + 1e-9
    normal = normalised(body.turn @ gradient)
    ratio = distance / body.radius(q, distance)
    return Hit(index, depth, normal, points, q / distance, ratio, np.zeros(len(index), dtype=np.intp))


def balls_hit(centres: Array, radii: Array, x: Array, y: Array, side: int) -> Hit | None:
    """Draws balls with a depth buffer.

    Args:
        centres: `(m, 3)` on the screen.
        radii: `(m,)`.
        x: `(side * side,)` screen positions of the pixels, to the right.
        y: `(side * side,)` screen positions of the pixels, upward.
        side: pixels along a side.

    Returns:
        The pixels that hit, or None if there are none; `point` and `unit` are in screen space.
    """
    grid_x, grid_y = x[:side], y[::side]
    depth = np.full((side, side), -np.inf)
    part = np.zeros((side, side), dtype=np.intp)
    for number, ((cx, cy, cz), radius) in enumerate(zip(centres, radii, strict=True)):
        columns = _span(grid_x, cx, radius)
        rows = _span(grid_y[::-1], cy, radius)
        rows = slice(side - rows.stop, side - rows.start)
        height = radius**2 - (grid_x[columns] - cx)[None, :] ** 2 - (grid_y[rows] - cy)[:, None] ** 2
        z = np.where(height > 0, cz + np.sqrt(np.maximum(height, 0.0)), -np.inf)
        nearer = z > depth[rows, columns]
        depth[rows, columns][nearer] = z[nearer]
        part[rows, columns][nearer] = number
    index = np.flatnonzero(depth.ravel() > -np.inf)
    if not len(index):
        return None
    z, owner = depth.ravel()[index], part.ravel()[index]
    point = np.stack([x[index], y[index], z])
    normal = (point - centres[owner].T) / radii[owner]
    return Hit(index, z, normal, point, normal, np.ones(len(index)), owner)


def _span(grid: Array, centre: float, radius: float) -> slice:
    """Finds the run of ascending grid positions within `radius` of `centre`."""
    start, stop = np.searchsorted(grid, [centre - radius, centre + radius])
    return slice(int(start), int(stop))


@dataclass(frozen=True)
class Leaf:
    """A flat leaf: it leaves `base` along `along`, is `length` long, and `across` is its half-width.

    All vectors are `(3,)` in screen space; `along` and `across` are perpendicular, `along` is a unit vector.
    `tip` (about 0.4 to 1.5) moves the widest part toward the tip or the base.
    """

    base: Array
    along: Array
    across: Array
    length: float
    tip: float = 0.7

    def outline_points(self) -> Array:
        """Samples the edge, to frame the picture: `(3, n)`."""
        u = np.linspace(0.0, 1.0, 9)
        width = np.sin(np.pi * u**self.tip)
        spine = self.base[:, None] + np.outer(self.along, u * self.length)
        side = np.outer(self.across, width)
        return np.concatenate([spine + side, spine - side], axis=1)

    def hit(self, x: Array, y: Array) -> Hit | None:
        """Finds the pixels the leaf covers; `point` holds (position along, position across, 0)."""
        matrix = np.stack([self.along[:2] * self.length, self.across[:2]], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-4:
            return None
        u, v = np.linalg.inv(matrix) @ np.stack([x - self.base[0], y - self.base[1]])
        index = np.flatnonzero((np.abs(u - 0.5) < 0.5) & (np.abs(v) < 1.0))
        index = index[np.abs(v[index]) < np.sin(np.pi * u[index] ** self.tip)]
        if not len(index):
            return None
        u, v = u[index], v[index]
        depth = self.base[2] + u * self.length * self.along[2] + v * self.across[2]
        flat = normalised(np.cross(self.along, self.across))
        flat = flat if flat[2] > 0 else -flat
        # The two halves fold up from the midrib.
        normal = normalised(flat[:, None] - 0.45 * np.sign(v) * normalised(self.across)[:, None])
        point = np.stack([u, v, np.zeros_like(u)])
        return Hit(index, depth, normal, point, point, np.ones_like(u), np.zeros(len(index), dtype=np.intp))
