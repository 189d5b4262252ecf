"""The renderer: the same seed, the same picture; every kind; and the sample that the repository bundles."""

import filecmp
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fruits_pipeline.rendering import KINDS, LABELS, render_fruit, render_random, write_images, write_sample
from fruits_pipeline.rendering.__main__ import main

BUNDLED = Path(__file__).parents[1] / "data" / "01_raw" / "sample"

Renderer = Callable[[np.random.Generator], Image.Image]


def _corners(image: Image.Image) -> np.ndarray:
    """Gives the four corner pixels, (4, 3)."""
    return np.asarray(image)[[0, 0, -1, -1], [0, -1, 0, -1]]


def _mask(image: Image.Image) -> np.ndarray:
    """Tells the object from the background, (height, width) bool."""
    return np.asarray(image.convert("L")) < 250


def _foreground(image: Image.Image) -> float:
    """Gives the share of pixels that are not white."""
    return float(_mask(image).mean())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes the sample once for the module."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    return folder


def _files(folder: Path) -> list[Path]:
    """Lists the files below a folder, relative to it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("render", [render_random, *(partial(render_fruit, kind) for kind in KINDS)])
def test_the_seed_decides_every_pixel(render: Renderer) -> None:
    first, again = (render(np.random.default_rng(3)).tobytes() for _ in range(2))
    assert first == again
    assert first != render(np.random.default_rng(4)).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_its_picture_on_white(kind: str) -> None:
    for seed in range(4):
        image = render_fruit(kind, np.random.default_rng(seed))
        assert (image.size, image.mode) == ((100, 100), "RGB")
        assert (_corners(image) == 255).all()
        rows, columns = np.nonzero(_mask(image))
        assert max(np.ptp(rows), np.ptp(columns)) >= 93  # the longer side reaches the frame
        assert _foreground(image) > 0.1


def test_kinds_are_told_apart_by_a_glance_of_eight_by_eight_pixels() -> None:
    def glance(kind: str, *seed: int) -> np.ndarray:
        image = render_fruit(kind, np.random.default_rng(seed), 40).resize((8, 8))
        return np.asarray(image, float).ravel()

    centres = np.array([[glance(kind, 1, i) for i in range(6)] for kind in KINDS]).mean(axis=1)
    others = np.array([[glance(kind, 2, i) for i in range(6)] for kind in KINDS])
    distance = np.linalg.norm(others[:, :, None] - centres, axis=-1)
    right = distance.argmin(axis=-1) == np.arange(len(KINDS))[:, None]
    assert right.mean() > 0.8


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        render_fruit("durian", np.random.default_rng(0))


def test_random_objects_are_on_white_and_diverse() -> None:
    images = [render_random(np.random.default_rng([9, seed])) for seed in range(60)]
    assert all((image.size, image.mode) == ((100, 100), "RGB") for image in images)
    white = np.array([(_corners(image) == 255).all(axis=1).sum() for image in images])
    assert (white >= 3).mean() > 0.95  # a leaf may point into a corner
    assert all(_foreground(image) > 0.005 for image in images)
    hues = [np.asarray(image.convert("HSV"))[_mask(image)][:, 0].mean() // 32 for image in images]
    assert len(set(hues)) >= 6  # of 8 sectors of the colour circle
    assert np.std([_foreground(image) for image in images]) > 0.15


def test_other_sizes_are_rendered_too() -> None:
    for size in (1, 37, 224):
        assert render_random(np.random.default_rng(1), size).size == (size, size)
        assert render_fruit("pear", np.random.default_rng(1), size).size == (size, size)


def test_the_bundled_sample_is_what_the_generator_writes(sample: Path) -> None:
    """Compares names exactly and pixels almost.

    Bytes are equal on one machine with one Pillow. Another build of libjpeg or zlib may encode the same
    pixels otherwise, and another processor may round the last bit otherwise: now and then a gray level.
    """
    assert _files(BUNDLED) == _files(sample)
    for name in _files(sample):
        if filecmp.cmp(BUNDLED / name, sample / name, shallow=False) or name.name.startswith("broken"):
            continue
        bundled, written = (np.asarray(Image.open(folder / name), float) for folder in (BUNDLED, sample))
        assert bundled.shape == written.shape
        assert np.abs(bundled - written).mean() < 0.01 * max(written.max(), 1), name


def test_another_seed_gives_another_set(tmp_path: Path) -> None:
    one, other = tmp_path / "0", tmp_path / "1"
    write_images(one, 10, seed=0)
    write_images(other, 10, seed=1)
    assert _files(one) == _files(other)
    assert not any(filecmp.cmp(one / name, other / name, shallow=False) for name in _files(one))


def test_a_larger_set_begins_with_the_smaller_one(sample: Path, tmp_path: Path) -> None:
    paths = write_images(tmp_path, 13)
    assert len(paths) == len(set(paths)) == 13
    assert all(path.read_bytes() == (sample / path.relative_to(tmp_path)).read_bytes() for path in paths)


def test_the_command_line_writes_large_sets_in_parallel_to_the_same_bytes(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits_pipeline.rendering.sample._PARALLEL_FROM", 20)
    main([str(tmp_path), "--images", "60"])
    assert len(_files(tmp_path)) == 60
    assert all((tmp_path / name).read_bytes() == (sample / name).read_bytes() for name in _files(tmp_path))


def test_the_sample_is_labelled_and_small(sample: Path) -> None:
    labels = {path.name for path in sample.iterdir()}
    assert labels == set(LABELS.values())
    assert any(" " in label for label in labels)
    assert any(not label.isascii() for label in labels)
    assert sum((sample / name).stat().st_size for name in _files(sample)) < 1_000_000
    photographs = [name for name in _files(sample) if name.name.endswith("_100.jpg")]
    assert len(photographs) == 200
    for name in photographs:
        with Image.open(sample / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (100, 100))
            assert (_corners(image).mean(axis=1) > 235).all()  # the encoder rings and bleeds a little


@pytest.mark.parametrize(
    ("name", "form", "mode"),
    [
        ("awkward_16bit.png", "PNG", "I;16"),
        ("awkward_cmyk.jpg", "JPEG", "CMYK"),
        ("awkward_exif_orientation_6.jpg", "JPEG", "RGB"),
        ("awkward_extension.jpeg", "JPEG", "RGB"),
        ("awkward_grayscale.jpg", "JPEG", "L"),
        ("awkward_palette_transparent.png", "PNG", "P"),
        ("awkward_png_named.jpg", "PNG", "RGB"),
        ("awkward_progressive.JPG", "JPEG", "RGB"),
        ("awkward_rgba.png", "PNG", "RGBA"),
    ],
)
def test_awkward_files_are_what_their_names_say(name: str, form: str, mode: str) -> None:
    (path,) = BUNDLED.rglob(name)
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.mode, image.size) == (form, mode, (100, 100))
        assert (image.getexif().get(0x0112) == 6) == ("orientation_6" in name)
        assert ("progressive" in image.info) == ("progressive" in name)
        assert ("transparency" in image.info) == ("palette" in name)
        if mode == "I;16":
            assert np.asarray(image).max() > 255
        if mode == "RGBA":
            assert set(np.unique(np.asarray(image)[..., 3])) == {0, 255}


def test_exactly_two_files_of_the_sample_do_not_decode() -> None:
    broken = []
    for name in _files(BUNDLED):
        try:
            with Image.open(BUNDLED / name) as image:
                image.load()
        except OSError:
            broken.append(name.name)
    assert sorted(broken) == ["broken_empty.jpg", "broken_truncated.jpg"]
    assert len(_files(BUNDLED)) == 200 + 9 + 2
