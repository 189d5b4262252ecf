"""Wildly varied objects, to teach a small network what a large one sees."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from fruits_pipeline.rendering import skins
from fruits_pipeline.rendering.noise import Array, Rng, fibonacci_sphere, hsv, normalised, random_unit
from fruits_pipeline.rendering.scene import Scene, curved_stem, leaf_at
from fruits_pipeline.rendering.shading import random_light
from fruits_pipeline.rendering.shapes import (
    AXIS_TO_VIEWER,
    Body,
    Hit,
    profile_from_outline,
    random_dents,
    rotation,
    superellipse_profile,
    turn_about,
)
from fruits_pipeline.rendering.skins import Flesh, Skin, wild_colour


def render_random(rng: Rng, size: int = 100) -> Image.Image:
    """Renders one object out of a very wide family, on white.

    Args:
        rng: source of every choice; equal generators give equal pictures.
        size: pixels along a side.

    Returns:
        A `(size, size)` RGB image.
    """
    scene = Scene()
    family = _FAMILIES[rng.choice(len(_FAMILIES), p=_WEIGHTS)]
    family(scene, rng)
    margin = rng.uniform(0.0, 0.06) if rng.uniform() < 0.75 else rng.uniform(0.06, 0.45)
    softness = rng.uniform(0.0, 0.9) if rng.uniform() < 0.5 else 0.0
    return scene.render(rng, size, random_light(rng), margin, softness)


def _round(scene: Scene, rng: Rng) -> None:
    """A ball, an ellipsoid, an apple or a smooth pebble."""
    body = Body(
        profile=_apple_profile(rng) if rng.uniform() < 0.5 else superellipse_profile(rng.uniform(1.8, 3.0)),
        scale=np.array([1.0, rng.uniform(0.85, 1.1), rng.uniform(0.7, 1.5)]),
        turn=rotation(rng),
        dents=random_dents(rng, 0.04),
    )
    scene.add_body(body, wild_skin(rng))
    _garnish(scene, rng, body)


def _pear(scene: Scene, rng: Rng) -> None:
    """A solid of revolution with a random outline: pears, gourds, bottles, tops, drops."""
    body = Body(
        profile=profile_from_outline(_random_outline(rng)),
        scale=np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.9, 1.5)]),
        turn=rotation(rng),
        dents=random_dents(rng, 0.03),
        bend=rng.uniform(-0.15, 0.15),
    )
    scene.add_body(body, wild_skin(rng))
    _garnish(scene, rng, body)


def _elongated(scene: Scene, rng: Rng) -> None:
    """Bananas, carrots, cucumbers, beans: one, or a bunch side by side."""
    paint = wild_skin(rng)
    power, thick, bend = rng.uniform(2.0, 4.0), rng.uniform(0.14, 0.4), rng.uniform(0.0, 0.45)
    profile = superellipse_profile(power) * (1.0 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, 4096))
    turn = rotation(rng, tilt=1.0)
    for number in range(rng.choice([1, 1, 1, 2, 3])):
        offset = np.array([0.0, 0.0, -0.3 * number]) + number * thick * 1.5 * turn[:, 0]
        body = Body(
            profile=profile,
            scale=np.array([thick, thick * rng.uniform(0.85, 1.15), 1.0]),
            turn=turn @ turn_about(1, rng.normal(0, 0.12)),
            offset=offset,
            bend=bend,
            dents=random_dents(rng, 0.03),
        )
        scene.add_body(body, paint)
    _garnish(scene, rng, body)


def _lobed(scene: Scene, rng: Rng) -> None:
    """Peppers, pumpkins, star fruit, tomatoes with ribs."""
    body = Body(
        profile=_apple_profile(rng) if rng.uniform() < 0.6 else superellipse_profile(rng.uniform(2.0, 3.5)),
        scale=np.array([1.0, 1.0, np.exp(rng.uniform(-0.6, 0.5))]),
        turn=rotation(rng),
        lobes=int(rng.integers(3, 11)),
        lobe_depth=rng.uniform(0.04, 0.55) ** 1.3,
        dents=random_dents(rng, 0.05),
    )
    scene.add_body(body, wild_skin(rng))
    _garnish(scene, rng, body)


def _boxy(scene: Scene, rng: Rng) -> None:
    """Things that are not fruit: boxes, cans, cushions, discs."""
    body = Body(
        profile=superellipse_profile(rng.uniform(2.5, 7.0)),
        scale=np.exp(rng.uniform(-0.7, 0.2, size=3)),
        turn=rotation(rng),
        lobes=int(rng.choice([0, 4, 4, 3])),
        lobe_depth=0.0 if rng.uniform() < 0.3 else -rng.uniform(0.1, 0.3),
    )
    scene.add_body(body, wild_skin(rng))


def _cut(scene: Scene, rng: Rng) -> None:
    """A fruit cut in half, or with a slice off, its flesh toward the viewer."""
    across = bool(rng.uniform() < 0.5)
    normal = np.array([0.0, 0.0, 1.0]) if across else np.array([0.0, -1.0, 0.0])
    profile = profile_from_outline(_random_outline(rng)) if rng.uniform() < 0.4 else _apple_profile(rng)
    facing = rotation(rng, tilt=0.9, spin=0.6)
    body = Body(
        profile=profile,
        scale=np.array([1.0, 1.0, rng.uniform(0.8, 1.4)]),
        turn=facing @ AXIS_TO_VIEWER if across else facing,
        cut=np.array([*normal, rng.uniform(-0.1, 0.35)]),
    )
    outside, inside = wild_skin(rng), _wild_flesh(rng, across)

    def paint(hit: Hit, generator: Rng) -> Skin:
        skin = outside(hit, generator)
        skins.flesh(skin, hit.ratio < 0.985, generator, inside)
        return skin

    scene.add_body(body, paint)


def _wild_flesh(rng: Rng, across: bool) -> Flesh:
    """Draws the inside of an unknown fruit."""
    pale = hsv(rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.4), rng.uniform(0.8, 1.0))
    return Flesh(
        body=pale if rng.uniform() < 0.4 else wild_colour(rng),
        core=wild_colour(rng) if rng.uniform() < 0.6 else pale,
        pith=pale,
        seed=hsv(rng.uniform(0.0, 0.15), rng.uniform(0.2, 0.9), rng.uniform(0.05, 0.7)),
        skin=wild_colour(rng),
        core_size=rng.uniform(0.0, 0.5),
        segments=int(rng.choice([0, 0, 5, 8, 10, 12])),
        seeds=int(rng.choice([0, 5, 8, 12, 20, 28])),
        seed_radius=rng.uniform(0.2, 0.7),
        rind=rng.uniform(0.0, 0.12),
        grain=rng.uniform(0.0, 0.15),
        across=across,
    )


def _bunch(scene: Scene, rng: Rng) -> None:
    """Grapes, currants, cherries: separate balls in a cone, a pile or a pair."""
    count = int(rng.choice([2, 3, 5, 9, 16, 28, 45]))
    length, width = rng.uniform(0.4, 1.2), rng.uniform(0.3, 0.9)
    height = rng.uniform(-1, 1, size=count)
    around = rng.uniform(0, 2 * np.pi, size=count)
    taper = width * (1.0 + rng.uniform(0, 0.7) * height)
    centres = np.stack([taper * np.cos(around), height * length, taper * np.sin(around)], axis=1)
    radius = rng.uniform(0.5, 0.75) * (length + width) / np.sqrt(count + 1.0)
    _berry_cluster(scene, rng, centres, radius * rng.uniform(0.75, 1.1, size=count))
    if rng.uniform() < 0.6:
        top = np.array([0.0, length, 0.0])
        upward = normalised(np.array([0.0, 1.0, 0.0]) + 0.5 * random_unit(rng))
        scene.add_stem(curved_stem(rng, top, upward, 0.5), 0.04)


def _aggregate(scene: Scene, rng: Rng) -> None:
    """Raspberries, blackberries, pine cones, corn: small balls set on a body."""
    count = int(rng.integers(30, 90))
    outline = profile_from_outline(_random_outline(rng)) if rng.uniform() < 0.5 else superellipse_profile(2.2)
    body = Body(outline, np.array([1.0, 1.0, rng.uniform(0.8, 1.8)]), rotation(rng))
    units = fibonacci_sphere(count).T
    points = units * body.radius(units, np.ones(count)) * body.scale[:, None]
    centres = (body.turn @ points).T
    radius = rng.uniform(0.95, 1.35) * 1.8 / np.sqrt(count)
    front = centres[:, 2] > -0.25
    core = wild_colour(rng) * 0.5
    scene.add_body(body, lambda hit, generator: Skin.plain(hit, core))
    _berry_cluster(scene, rng, centres[front], radius * rng.uniform(0.85, 1.15, size=int(front.sum())))
    _garnish(scene, rng, body)


def _berry_cluster(scene: Scene, rng: Rng, centres: Array, radii: Array) -> None:
    """Adds balls that share a skin but differ a little in brightness and ripeness."""
    outside, unripe = wild_skin(rng), wild_colour(rng)
    brightness = rng.normal(1.0, 0.12, size=len(radii))
    ripeness = rng.uniform(size=len(radii)) ** 3 * rng.uniform(0, 0.8)

    def paint(hit: Hit, generator: Rng) -> Skin:
        skin = outside(hit, generator)
        skin.mix(unripe, ripeness[hit.part])
        skin.shade(brightness[hit.part])
        return skin

    scene.add_balls(centres, radii, paint)


def _foliage(scene: Scene, rng: Rng) -> None:
    """Leaves alone, or a rosette."""
    hue = rng.uniform(0.15, 0.45) if rng.uniform() < 0.7 else rng.uniform()
    for _ in range(int(rng.choice([1, 2, 3, 6, 10]))):
        colour = hsv(hue + rng.normal(0, 0.02), rng.uniform(0.4, 1.0), rng.uniform(0.25, 0.9))
        direction = normalised(random_unit(rng) * [1, 1, 0.5])
        leaf = leaf_at(rng, np.zeros(3), direction, rng.uniform(0.6, 1.2), rng.uniform(0.1, 0.45))
        scene.add_leaf(leaf, colour)
    if rng.uniform() < 0.5:
        scene.add_stem(curved_stem(rng, np.zeros(3), random_unit(rng), 0.8), 0.03)


def _pair(scene: Scene, rng: Rng) -> None:
    """Two bodies of one kind, one partly behind the other."""
    paint, profile = wild_skin(rng), _apple_profile(rng)
    scale = np.array([1.0, 1.0, rng.uniform(0.7, 1.6)])
    away = normalised(rng.normal(size=3) * [1, 1, 0.6]) * rng.uniform(0.6, 1.1)
    for side in (-1.0, 1.0):
        body = Body(profile, scale, rotation(rng), side * away, dents=random_dents(rng, 0.03))
        scene.add_body(body, paint)
        _garnish(scene, rng, body)


_FAMILIES: tuple[Callable[[Scene, Rng], None], ...] = (
    _round,
    _pear,
    _elongated,
    _lobed,
    _boxy,
    _cut,
    _bunch,
    _aggregate,
    _foliage,
    _pair,
)
_WEIGHTS = np.array([0.22, 0.15, 0.13, 0.12, 0.05, 0.13, 0.06, 0.07, 0.03, 0.04])


def _apple_profile(rng: Rng) -> Array:
    """Draws the outline of an apple-like solid: dimples of random depth at both poles."""
    top, bottom = rng.uniform(0.5, 1.0), rng.uniform(0.55, 1.0)
    shoulder, foot = rng.uniform(0.3, 0.65), rng.uniform(0.3, 0.6)
    return profile_from_outline(
        [
            (0.0, top),
            (0.12, top + 0.02),
            (shoulder, 1.0),
            (0.95, 0.6),
            (rng.uniform(0.95, 1.1), 0.0),
            (rng.uniform(0.7, 1.0), -0.6),
            (foot, -1.0),
            (0.12, -bottom - 0.02),
            (0.0, -bottom),
        ]
    )


def _random_outline(rng: Rng) -> list[tuple[float, float]]:
    """Draws a smooth outline with a waist or without, `(distance from axis, height)` pairs."""
    angles = np.linspace(0.0, np.pi, 8)
    radii = 1.0 + np.cumsum(rng.normal(0, 0.14, size=8))
    radii = np.clip(radii / radii.mean(), 0.5, 1.6)
    return [(float(r * np.sin(a)), float(r * np.cos(a))) for r, a in zip(radii, angles, strict=True)]


def _garnish(scene: Scene, rng: Rng, body: Body) -> None:
    """Adds, perhaps, a stem, leaves or a calyx at an end of the axis."""
    choice = rng.uniform()
    base, out = body.to_screen(body.pole() * 0.97), body.turn[:, 2]
    if choice < 0.45:
        scene.add_stem(
            curved_stem(rng, base, out, rng.uniform(0.15, 0.7)), rng.uniform(0.025, 0.07), rng.uniform(0, 0.4)
        )
    if 0.3 < choice < 0.6:
        green = hsv(rng.uniform(0.18, 0.4), rng.uniform(0.4, 0.9), rng.uniform(0.25, 0.75))
        for _ in range(int(rng.choice([1, 2, 5, 7]))):
            direction = normalised(out * rng.uniform(0.1, 1.0) + random_unit(rng))
            length = rng.uniform(0.3, 0.9)
            scene.add_leaf(leaf_at(rng, base, direction, length, length * rng.uniform(0.1, 0.35)), green)


def wild_skin(rng: Rng) -> Callable[[Hit, Rng], Skin]:
    """Chooses a skin: a ground colour and a random handful of layers, the same wherever it is applied."""
    ground, gloss = wild_colour(rng), rng.uniform(0.0, 1.5)
    chosen = [layer for layer, odds in _LAYERS if rng.uniform() < odds]
    seed = int(rng.integers(2**63))

    def paint(hit: Hit, generator: Rng) -> Skin:
        del generator
        local = np.random.default_rng(seed)
        skin = Skin.plain(hit, ground, gloss)
        for layer in chosen:
            layer(skin, local, _near(local, ground))
        return skin

    return paint


def _near(rng: Rng, colour: Array) -> Array:
    """Draws a second colour: often a relative of the first, sometimes anything."""
    if rng.uniform() < 0.35:
        return wild_colour(rng)
    related = colour * rng.uniform(0.5, 1.4) + rng.normal(0, 0.12, size=3)
    return np.clip(related, 0.0, 1.0)


Layer = Callable[[Skin, Rng, Array], None]


def _meridians(s: Skin, r: Rng, c: Array) -> None:
    skins.meridians(s, r, c, int(r.integers(3, 16)), r.uniform(0.2, 0.9), r.uniform(0, 1.5))


def _patches(s: Skin, r: Rng, c: Array) -> None:
    skins.patches(s, r, c, r.uniform(2, 12), r.uniform(-0.2, 1.5), r.uniform(0.3, 1.0))


def _speckles(s: Skin, r: Rng, c: Array) -> None:
    count = int(r.integers(15, 130))
    skins.speckles(s, r, c, count, r.uniform(0.08, 0.4), r.uniform(0.3, 1.0), r.uniform(-2, 2))


# With the odds that a skin has each; painted in this order, the fine grain last.
_LAYERS: tuple[tuple[Layer, float], ...] = (
    (lambda s, r, c: skins.blush(s, r, c, r.uniform(0.4, 1.0), r.uniform(0.15, 1.0)), 0.5),
    (lambda s, r, c: skins.pole_tint(s, c, int(r.choice([-1, 1])), r.uniform(0.05, 0.8)), 0.3),
    (lambda s, r, c: skins.streaks(s, r, c, r.uniform(0.2, 0.9), r.uniform(5, 20)), 0.2),
    (_meridians, 0.12),
    (lambda s, r, c: skins.bands(s, r, c, r.uniform(3, 30), r.uniform(0.2, 0.8)), 0.06),
    (_patches, 0.3),
    (lambda s, r, c: skins.net(s, r, c, r.uniform(3, 12), r.uniform(0.1, 0.4), r.uniform(0.2, 0.8)), 0.1),
    (_speckles, 0.25),
    (lambda s, r, c: skins.flecks(s, r, c, r.uniform(12, 50), r.uniform(1, 2), r.uniform(0.3, 0.9)), 0.15),
    (lambda s, r, c: skins.bumps(s, r, int(r.integers(20, 110)), r.uniform(1, 8), r.uniform(0, 0.5)), 0.13),
    (lambda s, r, c: skins.pores(s, r, r.uniform(20, 60), r.uniform(0.1, 0.8), 0.1), 0.35),
    (lambda s, r, c: skins.mottle(s, r, r.uniform(2, 14), r.uniform(0.02, 0.18)), 0.6),
    (lambda s, r, c: skins.fuzz(s, r, r.uniform(0.02, 0.15)), 0.2),
)
