"""The bundled sample: labelled folders of rendered fruit, a few awkward files, two broken ones."""

import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from fruits_pipeline.rendering.kinds import KINDS, render_fruit

LABELS: Final[dict[str, str]] = {
    "apple": "Apple Red 1",
    "banana": "Banana",
    "grape": "Grape Blue",
    "kiwi": "Kiwi",
    "lemon": "Lemon Meyer",
    "orange": "Orange",
    "peach": "Pêche jaune",
    "pear": "Poire d'été",
    "strawberry": "Strawberry",
    "watermelon": "Watermelon",
}
"""Kind to folder name. Blanks, accents and an apostrophe on purpose: real labels have them."""

SAMPLE_IMAGES: Final = 200
"""How many plain photographs the sample has, before the awkward and the broken files."""

SIZE: Final = 100
"""Edge of the photographs in pixels, as in Fruits-360."""

_QUALITY = 90
_ORIENTATION = 0x0112
_PARALLEL_FROM = 400

# Images of the awkward files come from a range of numbers that plain photographs never reach.
_AWKWARD_NUMBER = 2**40


def write_images(folder: Path, n_images: int, seed: int = 0) -> list[Path]:
    """Writes plain photographs, spread evenly over the kinds, as `folder/<label>/<n>_100.jpg`.

    Every picture has a seed of its own: the first pictures of a larger set are those of a smaller one. Large
    sets are written by all processors.

    Args:
        folder: where to write; made if missing. Files of the same names are replaced, others stay.
        n_images: how many, at least 0.
        seed: seed of the set.

    Returns:
        The paths written, in the order of their numbers.

    Raises:
        OSError: the folder cannot be written.
    """
    for kind in KINDS[:n_images]:
        (folder / LABELS[kind]).mkdir(parents=True, exist_ok=True)
    work = partial(_write_image, folder, seed)
    if n_images < _PARALLEL_FROM:
        return [work(rank) for rank in range(n_images)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(work, range(n_images), chunksize=50))


def write_sample(folder: Path, seed: int = 0) -> list[Path]:
    """Writes the bundled sample: 200 photographs, 9 awkward but valid files, 2 broken ones.

    The bytes depend on the seed and on the versions of Pillow and numpy alone.

    Args:
        folder: where to write; made if missing. Files of the same names are replaced, others stay.
        seed: seed of the sample.

    Returns:
        The paths written.

    Raises:
        OSError: the folder cannot be written.
    """
    return write_images(folder, SAMPLE_IMAGES, seed) + list(_write_awkward(folder, seed))


def _write_image(folder: Path, seed: int, rank: int) -> Path:
    """Renders and writes the photograph number `rank` of a set."""
    number, kind = divmod(rank, len(KINDS))
    path = folder / LABELS[KINDS[kind]] / f"{number}_{SIZE}.jpg"
    path.write_bytes(_jpeg(_picture(KINDS[kind], seed, number)))
    return path


def _picture(kind: str, seed: int, number: int) -> Image.Image:
    """Renders one photograph from its own seed."""
    return render_fruit(kind, np.random.default_rng([seed, KINDS.index(kind), number]), SIZE)


def _write_awkward(folder: Path, seed: int) -> Iterable[Path]:
    """Writes the awkward and the broken files beside the good ones."""
    for rank, (kind, name, encode) in enumerate(_AWKWARD):
        path = folder / LABELS[kind] / name
        path.write_bytes(encode(_picture(kind, seed, _AWKWARD_NUMBER + rank)))
        yield path


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Encodes into memory."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _jpeg(image: Image.Image, **options: object) -> bytes:
    """Encodes as Fruits-360 does."""
    return _encoded(image, "JPEG", quality=_QUALITY, **options)


def _background(image: Image.Image) -> np.ndarray:
    """Tells the white background from the fruit: `(height, width)` bool."""
    white: np.ndarray = np.asarray(image.convert("L")) >= 250
    return white


def _rgba(image: Image.Image) -> bytes:
    """Makes the background transparent, over black, so that a reader that drops alpha shows it."""
    fruit = ~_background(image)
    pixels = np.dstack([np.asarray(image) * fruit[..., None], fruit * 255]).astype(np.uint8)
    return _encoded(Image.fromarray(pixels), "PNG")


def _palette(image: Image.Image) -> bytes:
    """Reduces to 63 colours and one that is transparent."""
    reduced = image.quantize(63)
    indices = np.array(reduced)
    indices[_background(image)] = 63
    paletted = Image.fromarray(indices)
    paletted.putpalette(reduced.getpalette() or [])
    return _encoded(paletted, "PNG", transparency=63)


def _sixteen_bits(image: Image.Image) -> bytes:
    """Spreads the gray values over 0 … 65535."""
    gray = np.asarray(image.convert("L")).astype(np.uint16)
    return _encoded(Image.fromarray(gray * 257), "PNG")


def _on_its_side(image: Image.Image) -> bytes:
    """Stores the picture turned to the left, with the EXIF note to turn it back (orientation 6)."""
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    return _jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


def _truncated(image: Image.Image) -> bytes:
    """Cuts a JPEG at half its length."""
    whole = _jpeg(image)
    return whole[: len(whole) // 2]


_AWKWARD: Final[tuple[tuple[str, str, Callable[[Image.Image], bytes]], ...]] = (
    ("apple", "awkward_cmyk.jpg", lambda image: _jpeg(image.convert("CMYK"))),
    ("apple", "awkward_grayscale.jpg", lambda image: _jpeg(image.convert("L"))),
    ("banana", "awkward_palette_transparent.png", _palette),
    ("grape", "awkward_png_named.jpg", lambda image: _encoded(image, "PNG")),
    ("kiwi", "awkward_rgba.png", _rgba),
    ("orange", "awkward_16bit.png", _sixteen_bits),
    ("pear", "awkward_exif_orientation_6.jpg", _on_its_side),
    ("strawberry", "awkward_progressive.JPG", lambda image: _jpeg(image, progressive=True)),
    ("watermelon", "awkward_extension.jpeg", _jpeg),
    ("lemon", "broken_empty.jpg", lambda image: b""),
    ("peach", "broken_truncated.jpg", _truncated),
)
