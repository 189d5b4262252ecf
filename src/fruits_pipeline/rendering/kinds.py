"""Ten kinds of fruit that a person names at a glance, each with one family of shape, colour and texture.

Within a kind the light, the pose, the form and the colour vary, as on the turntable of Fruits-360.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from fruits_pipeline.rendering import skins
from fruits_pipeline.rendering.noise import Array, Rng, hsv, normalised
from fruits_pipeline.rendering.scene import Scene, curved_stem
from fruits_pipeline.rendering.shading import Light
from fruits_pipeline.rendering.shapes import (
    AXIS_TO_VIEWER,
    Body,
    Hit,
    Leaf,
    profile_from_outline,
    random_dents,
    rotation,
)
from fruits_pipeline.rendering.skins import Flesh, Skin


def render_fruit(kind: str, rng: Rng, size: int = 100) -> Image.Image:
    """Renders one fruit of a kind so that it fills the picture, on white.

    Args:
        kind: one of `KINDS`.
        rng: source of every choice; equal generators give equal pictures.
        size: pixels along a side.

    Returns:
        A `(size, size)` RGB image.

    Raises:
        KeyError: the kind is not one of `KINDS`.
    """
    scene = Scene()
    _BUILDERS[kind](scene, rng)
    return scene.render(rng, size, _studio_light(rng), margin=0.015, softness=rng.uniform(0.0, 0.35))


def _studio_light(rng: Rng) -> Light:
    """Places the lamp above the camera, a little to one side."""
    return Light(
        direction=normalised(np.array([rng.uniform(-0.6, 0.6), rng.uniform(0.1, 0.7), 1.0])),
        ambient=rng.uniform(0.25, 0.4),
        shininess=rng.uniform(25.0, 60.0),
        specular=rng.uniform(0.25, 0.45),
        exposure=rng.uniform(0.9, 1.08),
    )


def _varied(rng: Rng, hue: float, saturation: float, value: float, spread: float = 1.0) -> Array:
    """Draws an individual's colour `(3,)` round that of its kind."""
    return hsv(
        hue + rng.normal(0, 0.008) * spread,
        saturation + rng.normal(0, 0.03) * spread,
        value + rng.normal(0, 0.03) * spread,
    )


def _pose(rng: Rng, tilt: float = 0.7, roll: float = 0.35) -> Array:
    """Turns the fruit freely about its axis, and tilts and rolls it a little."""
    return rotation(rng, tilt=tilt, roll=roll)


def _stem(scene: Scene, rng: Rng, body: Body, length: float, radius: float, green: float = 0.1) -> None:
    """Plants a stalk on the upper pole."""
    scene.add_stem(curved_stem(rng, body.to_screen(body.pole()), body.turn[:, 2], length), radius, green)


def _apple(scene: Scene, rng: Rng) -> None:
    outline = [
        (0.0, 0.5), (0.1, 0.55), (0.3, 0.92), (0.6, 0.97), (0.95, 0.62), (1.03, 0.12),
        (0.88, -0.45), (0.58, -0.86), (0.32, -0.93), (0.1, -0.74), (0.0, -0.7),
    ]  # fmt: skip
    body = Body(
        profile_from_outline(outline),
        np.array([1.0, rng.uniform(0.94, 1.0), rng.uniform(0.88, 1.0)]),
        _pose(rng, tilt=1.0),
        dents=random_dents(rng, 0.025),
        lobes=5,
        lobe_depth=0.03,
    )
    red, gold = _varied(rng, 0.985, 0.88, 0.66), _varied(rng, 0.12, 0.62, 0.85)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, red)
        skins.streaks(skin, rng, red * [0.75, 0.5, 0.6], 0.7)
        skins.blush(skin, rng, gold, 0.6, 0.9)
        skins.streaks(skin, rng, red, 0.8, 10.0)
        skins.pole_tint(skin, hsv(0.17, 0.6, 0.6), 1, 0.08)
        skins.pole_tint(skin, hsv(0.09, 0.6, 0.3), -1, 0.02)
        skins.flecks(skin, rng, hsv(0.1, 0.4, 0.9), 28.0, 1.9, 0.6)
        skins.mottle(skin, rng, 5.0, 0.05)
        return skin

    scene.add_body(body, paint)
    _stem(scene, rng, body, rng.uniform(0.5, 0.75), 0.035)


def _banana(scene: Scene, rng: Rng) -> None:
    outline = [
        (0.0, 1.14), (0.3, 1.14), (0.34, 0.96), (0.62, 0.78), (0.95, 0.45), (1.0, 0.0),
        (0.95, -0.45), (0.68, -0.8), (0.3, -0.98), (0.22, -1.05), (0.0, -1.06),
    ]  # fmt: skip
    thick = rng.uniform(0.24, 0.28)
    # Bent sideways on the screen, and spun little: from the end a banana is a disc.
    turn = rotation(rng, tilt=0.35, spin=0.5, roll=np.pi)
    body = Body(
        profile_from_outline(outline),
        np.array([thick, thick * 0.94, 1.0]),
        turn,
        bend=rng.uniform(0.32, 0.5),
        lobes=5,
        lobe_depth=0.12,
    )
    ground, green = _varied(rng, 0.145, 0.82, 0.94), hsv(0.2, 0.65, 0.65)
    brown = hsv(0.08, 0.65, 0.25)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, ground, 0.4)
        skins.ends(skin, green, 0.8, 1.1, 0.6)
        skins.ends(skin, brown, 1.03, 1.06, 0.9)
        skins.streaks(skin, rng, ground * [0.85, 0.8, 0.6], 0.35, 6.0)
        skins.patches(skin, rng, brown, 9.0, rng.uniform(1.5, 2.1), 0.75)
        skins.patches(skin, rng, brown, 26.0, 1.9, 0.8)
        skins.mottle(skin, rng, 4.0, 0.03)
        return skin

    scene.add_body(body, paint)


def _orange(scene: Scene, rng: Rng) -> None:
    outline = [
        (0.0, 0.9), (0.12, 0.92), (0.5, 0.9), (0.92, 0.5),
        (1.0, 0.0), (0.92, -0.5), (0.5, -0.92), (0.0, -0.95),
    ]  # fmt: skip
    body = Body(
        profile_from_outline(outline),
        np.array([1.0, rng.uniform(0.96, 1.0), rng.uniform(0.94, 1.03)]),
        _pose(rng, tilt=1.2, roll=np.pi),
        dents=random_dents(rng, 0.02),
    )
    ground = _varied(rng, 0.085, 0.95, 0.95)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, ground, 0.8)
        skins.pores(skin, rng, 58.0, 0.3, 0.1)
        skins.mottle(skin, rng, 2.5, 0.04)
        skins.pole_tint(skin, hsv(0.1, 0.8, 0.6), 1, 0.02, 0.6)
        skins.pole_tint(skin, hsv(0.2, 0.6, 0.35), 1, 0.006, 1.0)
        return skin

    scene.add_body(body, paint)


def _pear(scene: Scene, rng: Rng) -> None:
    neck = rng.uniform(0.36, 0.44)
    outline = [
        (0.0, 1.38), (0.2, 1.37), (neck, 1.1), (neck + 0.1, 0.7), (0.82, 0.2), (1.0, -0.3),
        (0.88, -0.8), (0.45, -1.05), (0.15, -1.0), (0.0, -0.95),
    ]  # fmt: skip
    body = Body(
        profile_from_outline(outline),
        np.array([0.95, rng.uniform(0.88, 0.95), 1.0]),
        _pose(rng, tilt=0.55, roll=1.2),
        bend=rng.uniform(-0.06, 0.06),
        dents=random_dents(rng, 0.025),
    )
    ground, rosy = _varied(rng, 0.165, 0.68, 0.82), _varied(rng, 0.03, 0.7, 0.72)
    brown = hsv(0.09, 0.6, 0.38)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, ground, 0.5)
        skins.blush(skin, rng, rosy, rng.uniform(0.2, 0.5), 0.7)
        skins.mottle(skin, rng, 3.0, 0.05)
        skins.patches(skin, rng, brown, 5.0, 1.5, 0.6)
        skins.ends(skin, brown, 1.15, 1.5, 0.5)
        skins.flecks(skin, rng, brown, 42.0, 1.6, 0.6)
        skins.pole_tint(skin, brown * 0.5, -1, 0.01, 0.9)
        return skin

    scene.add_body(body, paint)
    _stem(scene, rng, body, rng.uniform(0.35, 0.55), 0.05)


def _grape(scene: Scene, rng: Rng) -> None:
    centres, radii = _bunch(rng)
    turn = _turn_upright(rng)
    ground = _varied(rng, 0.78, 0.55, 0.3)
    tones = rng.uniform(0.75, 1.25, size=len(radii))

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, ground, 1.2)
        skin.shade(tones[hit.part])
        skins.patches(skin, rng, hsv(0.68, 0.25, 0.65), 6.0, 0.2, 0.45)
        skins.patches(skin, rng, hsv(0.95, 0.6, 0.4), 3.0, 0.9, 0.4)
        return skin

    scene.add_balls(centres @ turn.T, radii, paint)
    top = turn @ np.array([0.0, 0.95, 0.0])
    scene.add_stem(curved_stem(rng, top, turn[:, 1], 0.5), 0.045, 0.5)


def _bunch(rng: Rng) -> tuple[Array, Array]:
    """Hangs berries in a cone that narrows downward: centres `(m, 3)`, y up, and radii `(m,)`."""
    # Height, berries and radius of each ring.
    upper = [(0.85, 5, 0.42), (0.55, 7, 0.62), (0.2, 7, 0.6)]
    lower = [(-0.15, 6, 0.5), (-0.5, 5, 0.38), (-0.85, 3, 0.2)]
    centres = [np.array([[0.0, -1.15, 0.0]])]
    for height, count, radius in upper + lower:
        angle = (np.arange(count) + rng.uniform()) / count * 2.0 * np.pi
        level = np.full(count, height)
        centres.append(np.stack([radius * np.cos(angle), level, radius * np.sin(angle)], axis=1))
    stacked = np.concatenate(centres)
    stacked += rng.normal(0, 0.05, size=stacked.shape)
    return stacked, rng.uniform(0.25, 0.31, size=len(stacked))


def _turn_upright(rng: Rng) -> Array:
    """Turns something whose axis is the screen's y: rolled and tilted a little, spun freely."""
    upright = rotation(rng, tilt=0.3, roll=0.3)
    return np.stack([upright[:, 0], upright[:, 2], -upright[:, 1]], axis=1)


def _strawberry(scene: Scene, rng: Rng) -> None:
    shoulder = rng.uniform(0.78, 0.9)
    outline = [
        (0.0, 0.72), (0.25, 0.78), (shoulder * 0.75, 0.75), (shoulder, 0.4), (shoulder * 0.92, -0.05),
        (0.5, -0.65), (0.22, -1.0), (0.0, -1.08),
    ]  # fmt: skip
    body = Body(
        profile_from_outline(outline),
        np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.95, 1.1)]),
        _pose(rng, tilt=0.55, roll=0.9),
        dents=random_dents(rng, 0.05),
    )
    red = _varied(rng, 0.99, 0.92, 0.78)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, red, 1.0)
        skins.pole_tint(skin, hsv(0.05, 0.35, 0.92), 1, 0.22, 0.5)
        skins.mottle(skin, rng, 4.0, 0.06)
        skins.achenes(skin, rng, hsv(0.13, 0.65, 0.85), 150)
        return skin

    scene.add_body(body, paint)
    _calyx(scene, rng, body, leaves=9, length=0.62)
    _stem(scene, rng, body, 0.3, 0.04, green=0.9)


def _calyx(scene: Scene, rng: Rng, body: Body, leaves: int, length: float) -> None:
    """Lays a collar of sepals on the upper pole."""
    base = body.to_screen(body.pole() * 1.04)
    for number in range(leaves):
        angle = 2.0 * np.pi * (number + rng.uniform(-0.25, 0.25)) / leaves
        outward = np.array([np.cos(angle), np.sin(angle), rng.uniform(0.0, 0.45)])
        along = normalised(body.turn @ outward)
        across = normalised(np.cross(body.turn[:, 2], along)) * length * 0.24
        green = hsv(rng.uniform(0.24, 0.3), 0.75, rng.uniform(0.42, 0.6))
        scene.add_leaf(Leaf(base, along, across, length * rng.uniform(0.8, 1.1), 0.75), green)


def _kiwi(scene: Scene, rng: Rng) -> None:
    outline = [(0.0, 0.97), (0.5, 0.93), (0.93, 0.5), (1.0, 0.0), (0.93, -0.5), (0.5, -0.93), (0.0, -0.97)]
    # The cut face, across the axis, looks at the camera.
    facing = rotation(rng, tilt=0.5, spin=0.0, roll=np.pi) @ AXIS_TO_VIEWER
    body = Body(
        profile_from_outline(outline),
        np.array([1.0, rng.uniform(0.88, 0.98), 1.25]),
        facing,
        dents=random_dents(rng, 0.02),
        cut=np.array([0.0, 0.0, 1.0, rng.uniform(-0.05, 0.15)]),
    )
    fuzzy = _varied(rng, 0.085, 0.5, 0.42)
    inside = Flesh(
        body=_varied(rng, 0.235, 0.75, 0.62),
        core=hsv(0.15, 0.22, 0.9),
        pith=hsv(0.22, 0.6, 0.72),
        seed=hsv(0.1, 0.5, 0.07),
        skin=fuzzy,
        core_size=rng.uniform(0.2, 0.27),
        seeds=int(rng.integers(18, 24)),
        seed_radius=0.42,
        rind=0.06,
        grain=0.1,
    )

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, fuzzy, 0.3)
        skins.fuzz(skin, rng, 0.12)
        skins.flesh(skin, hit.ratio < 0.985, rng, inside)
        return skin

    scene.add_body(body, paint)


def _peach(scene: Scene, rng: Rng) -> None:
    outline = [
        (0.0, 0.72), (0.12, 0.75), (0.35, 0.93), (0.8, 0.7), (1.0, 0.05), (0.85, -0.55), (0.4, -0.9),
        (0.1, -0.98), (0.0, -1.0),
    ]  # fmt: skip
    body = Body(
        profile_from_outline(outline),
        np.array([1.0, rng.uniform(0.93, 1.0), rng.uniform(0.92, 1.0)]),
        _pose(rng, tilt=0.9),
        dents=random_dents(rng, 0.03),
    )
    ground, red = _varied(rng, 0.105, 0.68, 0.95), _varied(rng, 0.0, 0.72, 0.68)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, ground, 0.25)
        skins.blush(skin, rng, red, 0.85, 0.9)
        skins.streaks(skin, rng, red, 0.35, 5.0)
        skins.crease(skin, 0.16, 9.0, red * 0.7)
        skins.mottle(skin, rng, 6.0, 0.04)
        skins.pole_tint(skin, hsv(0.12, 0.8, 0.6), 1, 0.03, 0.8)
        skins.fuzz(skin, rng, 0.035)
        return skin

    scene.add_body(body, paint)


def _lemon(scene: Scene, rng: Rng) -> None:
    tip = rng.uniform(1.3, 1.42)
    outline = [
        (0.0, tip), (0.1, tip), (0.18, tip - 0.14), (0.42, 0.95), (0.8, 0.6), (0.93, 0.0), (0.8, -0.6),
        (0.4, -0.98), (0.15, -1.12), (0.0, -1.15),
    ]  # fmt: skip
    body = Body(
        profile_from_outline(outline),
        np.array([0.95, 0.95, rng.uniform(0.95, 1.08)]),
        _pose(rng, tilt=0.5, roll=np.pi),
        dents=random_dents(rng, 0.03),
    )
    ground = _varied(rng, 0.148, 0.85, 0.95)

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, ground, 0.7)
        skins.pores(skin, rng, 46.0, 0.28, 0.08)
        skins.mottle(skin, rng, 2.5, 0.04)
        skins.ends(skin, hsv(0.2, 0.7, 0.7), 1.1, 1.5, 0.5)
        skins.pole_tint(skin, hsv(0.1, 0.6, 0.35), -1, 0.008)
        return skin

    scene.add_body(body, paint)


def _watermelon(scene: Scene, rng: Rng) -> None:
    outline = [(0.0, 0.98), (0.5, 0.9), (0.9, 0.52), (1.0, 0.0), (0.9, -0.52), (0.5, -0.9), (0.0, -0.98)]
    body = Body(
        profile_from_outline(outline),
        np.array([1.0, 1.0, rng.uniform(1.05, 1.3)]),
        _pose(rng, tilt=0.9, roll=1.3),
        dents=random_dents(rng, 0.02),
    )
    pale, dark = _varied(rng, 0.25, 0.55, 0.62), _varied(rng, 0.33, 0.7, 0.2)
    count = int(rng.integers(8, 12))

    def paint(hit: Hit, rng: Rng) -> Skin:
        skin = Skin.plain(hit, pale, 0.7)
        skins.streaks(skin, rng, dark, 0.5, 9.0)
        skins.meridians(skin, rng, dark, count, 0.95, 1.1)
        skins.mottle(skin, rng, 7.0, 0.07)
        skins.pole_tint(skin, hsv(0.1, 0.5, 0.35), 1, 0.006, 0.9)
        return skin

    scene.add_body(body, paint)
    _stem(scene, rng, body, 0.16, 0.04, green=0.3)


_BUILDERS: dict[str, Callable[[Scene, Rng], None]] = {
    "apple": _apple,
    "banana": _banana,
    "grape": _grape,
    "kiwi": _kiwi,
    "lemon": _lemon,
    "orange": _orange,
    "peach": _peach,
    "pear": _pear,
    "strawberry": _strawberry,
    "watermelon": _watermelon,
}

KINDS: tuple[str, ...] = tuple(_BUILDERS)
"""The names that `render_fruit` knows."""
