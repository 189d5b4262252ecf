"""From the bytes of a file to the pixels that the encoder sees, or to the reason why not.

The preprocessing is that of the original notebook: Pillow, RGB, bicubic resize to 224 × 224. It is fixed by
`PREPROCESSING`, which is part of every encoder's fingerprint: pixels made in another way are other features.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import PIL
from PIL import ExifTags, Image, UnidentifiedImageError

PREPROCESSING: Final = "pillow-rgb-on-white-exif-bicubic-224/1"
"""Name and version of what `decode` does; raise the version whenever one pixel may change."""

SIZE: Final = 224
"""Edge of the square that MobileNetV2 sees, in pixels (keras.applications' default)."""

MAX_PIXELS: Final = 89_478_485
"""Pillow's own guard against decompression bombs: 1 GiB / 4 bytes / 3 channels (PIL.Image.MAX_IMAGE_PIXELS)."""

REASONS: Final = (
    "empty",
    "not_an_image",
    "truncated",
    "decode_error",
    "too_large",
    "unsupported_mode",
    "vanished",
    "unreadable",
)
"""Why an image is in quarantine. `vanished` and `unreadable` come from reading, the others from decoding."""

Image.init()  # registers all decoders, so that `_FORMATS` can be told from those that this build lacks

_FORMATS: Final = tuple(
    name for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000") if name in Image.OPEN
)
# A whitelist, because Pillow also opens formats that run other programs (EPS starts Ghostscript).

_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (PIL.ImageOps.exif_transpose)."""

_SIXTEEN_BIT: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_EIGHT_BIT: Final = ("1", "L", "P", "RGB", "RGBX", "RGBA", "RGBa", "LA", "La", "PA", "CMYK", "YCbCr", "LAB", "HSV")


def scaled(pixels: Any) -> Any:
    """What MobileNetV2 was trained on (`preprocess_input` of keras.applications.mobilenet_v2).

    Args:
        pixels: float32 array or tensor, 0 … 255.

    Returns:
        The same, −1 … 1.
    """
    return pixels / 127.5 - 1.0


def judged_by(max_pixels: int) -> str:
    """What decides whether a file is a usable image: our own code, Pillow, and the limit.

    Images in quarantine are tried again when one of these changes.
    """
    return f"{PREPROCESSING} pillow-{PIL.__version__} max_pixels-{max_pixels}"


class UnusableImageError(Exception):
    """This file will never become features, however often it is read.

    Attributes:
        reason: One of `REASONS`.
        detail: What the decoder said, on one line, in valid UTF-8 (decoders quote the bytes of the file).
        original: What was known of the image before it failed.
    """

    def __init__(self, reason: str, detail: str, original: "Original | None" = None) -> None:
        """Keeps the reason code apart from the decoder's words."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = " ".join(detail.split())[:500].encode("utf-8", "replace").decode("utf-8")
        self.original = original


@dataclass(frozen=True)
class Original:
    """The image as it was stored: width and height in pixels (before EXIF rotation) and Pillow's mode."""

    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class DecodedImage:
    """What the encoder sees.

    Attributes:
        pixels: (224, 224, 3) uint8, RGB.
        original: Size and mode of the stored image.
    """

    pixels: np.ndarray
    original: Original


def decode(content: bytes, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decodes one image file into the encoder's input: `decode_rgb`, then `resize`.

    Args:
        content: The bytes of the file.
        max_pixels: Images with more pixels are refused before they are decoded.

    Returns:
        (224, 224, 3) uint8 pixels, and the size and mode of the original.

    Raises:
        UnusableImageError: For every file that is not a whole, supported image; the only error besides MemoryError.
    """
    rgb, original = decode_rgb(content, max_pixels)
    return DecodedImage(resize(rgb, original), original)


def decode_rgb(content: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, Original]:
    """Decodes one image file to an upright RGB image of its own size.

    Alpha goes on white, palettes are expanded, 16-bit gray is scaled to 8 bits, EXIF orientation is applied, of an
    animation the first frame is taken. The extension of the file plays no part.

    Args:
        content: The bytes of the file.
        max_pixels: Images with more pixels are refused before they are decoded.

    Returns:
        The image, and the size and mode of the original.

    Raises:
        UnusableImageError: For every file that is not a whole, supported image; the only error besides MemoryError.
    """
    if not content:
        raise UnusableImageError("empty", "the file has 0 bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; none of it concerns the pixels
        image = _open(content)
        original = Original(image.width, image.height, image.mode)
        if image.width * image.height > max_pixels:
            raise UnusableImageError(
                "too_large", f"{image.width} x {image.height} pixels, limit {max_pixels}", original
            )
        return _load(image, content, original), original


def resize(rgb: Image.Image, original: Original) -> np.ndarray:
    """Resizes to what the encoder sees, without regard to the aspect ratio, as the original notebook does.

    Args:
        rgb: Of any size.
        original: For the error.

    Returns:
        (224, 224, 3) uint8.

    Raises:
        UnusableImageError: If Pillow cannot resize it (an image without pixels).
    """
    try:
        return np.asarray(rgb.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    except MemoryError:
        raise
    except Exception as error:
        raise UnusableImageError("decode_error", f"{type(error).__name__}: {error}", original) from error


def _open(content: bytes) -> Image.Image:
    """Reads the header only."""
    try:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise UnusableImageError("too_large", str(error)) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they like on wild bytes (struct.error, KeyError, …)
        if isinstance(error, UnidentifiedImageError) or not _is_signed(content):
            raise UnusableImageError(*_unidentified(content)) from error
        raise _damaged(error, content) from error


def _unidentified(content: bytes) -> tuple[str, str]:
    """Tells a cut image from something that never was one, by its first bytes."""
    if _is_signed(content):
        return "truncated", f"an image signature, but no readable header in {len(content)} bytes"
    return "not_an_image", f"no image signature in the first of {len(content)} bytes: {content[:16]!r}"


def _is_signed(content: bytes) -> bool:
    """Whether the first bytes are those of an image; where two letters say little, the next ones must fit."""
    is_webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    is_bmp = content.startswith(b"BM") and content[6:10] == bytes(4)  # two reserved fields, always 0
    return content.startswith(_SIGNATURES) or is_webp or is_bmp or content[4:12] == b"ftypavif"


def _load(image: Image.Image, content: bytes, original: Original) -> Image.Image:
    """Decodes to upright RGB; every failure has a reason."""
    try:
        image.load()
        return _to_rgb(_upright(image))
    except (UnusableImageError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(error, content, original) from error


def _damaged(error: Exception, content: bytes, original: Original | None = None) -> UnusableImageError:
    """The reason behind a decoder's error: the file was cut, or its bytes are wrong."""
    cut = "truncated" in str(error).lower() or _is_cut_webp(content)
    return UnusableImageError("truncated" if cut else "decode_error", f"{type(error).__name__}: {error}", original)


def _is_cut_webp(content: bytes) -> bool:
    """Whether a WebP is shorter than its header says; its decoder does not tell."""
    promised = int.from_bytes(content[4:8], "little") + 8  # RIFF counts from byte 8
    return content.startswith(b"RIFF") and len(content) < promised


def _upright(image: Image.Image) -> Image.Image:
    """Applies EXIF orientation; unreadable EXIF data is no reason to lose a good picture."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any supported mode to RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT:
        return _from_sixteen_bits(image).convert("RGB")
    if image.mode not in _EIGHT_BIT:
        original = Original(image.width, image.height, image.mode)
        raise UnusableImageError("unsupported_mode", f"Pillow mode {image.mode}", original)
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Composites a transparent image over white, the background of Fruits-360."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Scales 0 … 65535 to 0 … 255, with the transparent value as white.

    Pillow's own conversion clips at 255, which gives a white picture.
    """
    values = np.clip(np.asarray(image), 0, 65535).astype(np.float32)
    gray = np.rint(values / 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    return Image.fromarray(gray if transparent is None else np.where(values == transparent, np.uint8(255), gray))
