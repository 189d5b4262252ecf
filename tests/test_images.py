"""Every mode and oddity of image files, and what no file may ever do: raise anything but a reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from fruits_pipeline import images
from fruits_pipeline.images import MAX_PIXELS, REASONS, DecodedImage, Original, UnusableImageError, decode
from fruits_pipeline.parameters import FeaturizationParameters

AWKWARD = Path(__file__).resolve().parents[2] / "shared" / "images" / "awkward"
WHITE = np.full((224, 224, 3), 255, np.uint8)

fuzz = settings(max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int = 90, height: int = 60) -> Image.Image:
    """A picture without any symmetry, smooth enough for JPEG and rich enough to show a wrong pixel."""
    y, x = np.mgrid[:height, :width]
    bands = [x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x * y // 7) % 256]
    return Image.fromarray(np.stack(bands, -1).astype(np.uint8))


def plain(image: Image.Image) -> np.ndarray:
    """What the original notebook did, for images that need no more than that."""
    return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))


def over_white(rgba: Image.Image) -> np.ndarray:
    """Alpha compositing by its definition, in floating point: (h, w, 3), not yet resized."""
    values = np.asarray(rgba.convert("RGBA")).astype(float)
    alpha = values[..., 3:] / 255
    return values[..., :3] * alpha + 255 * (1 - alpha)


def assert_on_white(content: bytes, rgba: Image.Image) -> None:
    """Compares within 1 of 255: Pillow composites in integers, and rounds before it resizes."""
    expected = plain(Image.fromarray(np.rint(over_white(rgba)).astype(np.uint8)))
    difference = np.abs(decode(content).pixels.astype(int) - expected.astype(int))
    assert difference.max() <= 2


def reason_of(content: bytes, **options: int) -> str:
    with pytest.raises(UnusableImageError) as caught:
        decode(content, **options)
    return caught.value.reason


def outcome(content: bytes, **options: int) -> DecodedImage | UnusableImageError:
    try:
        return decode(content, **options)
    except UnusableImageError as error:
        return error


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand, for what Pillow does not write; `rows` with their filter bytes."""
    header = (b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    parts = [header, *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    segment = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF directory of (tag, type, count, four bytes of value)."""
    directory = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4 + 64)


# ---- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_images_are_those_of_the_notebook(kind, mode):
    content = encode(photo().convert(mode), kind)
    decoded = decode(content)
    np.testing.assert_array_equal(decoded.pixels, plain(Image.open(io.BytesIO(content))))
    assert decoded.pixels.shape == (224, 224, 3)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.original.width, decoded.original.height) == (90, 60)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"),
        ("1", "TIFF"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_other_modes_without_alpha_are_only_converted(mode, kind):
    content = encode(photo().convert(mode), kind)
    decoded = decode(content)
    np.testing.assert_array_equal(decoded.pixels, plain(Image.open(io.BytesIO(content))))
    assert decoded.original == Original(90, 60, mode)


def test_the_colours_of_cmyk_are_not_inverted():
    pixels = decode(encode(photo().convert("CMYK"), "JPEG", quality=98)).pixels
    assert np.abs(pixels.astype(int) - plain(photo())).mean() < 3


def test_the_colours_of_ycbcr_jpeg_are_rgb():
    decoded = decode(encode(photo().convert("YCbCr"), "JPEG", quality=98, subsampling=0))
    assert np.abs(decoded.pixels.astype(int) - plain(photo())).mean() < 3
    assert decoded.original.mode == "RGB"  # libjpeg has converted it


def test_lab_becomes_rgb():
    lab = ImageCms.profileToProfile(
        photo(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    decoded = decode(encode(lab, "TIFF"))
    assert np.abs(decoded.pixels.astype(int) - plain(photo())).mean() < 5
    assert decoded.original.mode == "LAB"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG2000"])
def test_alpha_goes_on_white(kind):
    rgba = photo().convert("RGBA")
    alpha = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1))
    rgba.putalpha(Image.fromarray(alpha))
    content = encode(rgba, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert_on_white(content, Image.open(io.BytesIO(content)))


def test_what_is_wholly_transparent_is_white_whatever_its_colour():
    invisible = Image.new("RGBA", (30, 20), (200, 0, 0, 0))
    np.testing.assert_array_equal(decode(encode(invisible, "PNG")).pixels, WHITE)


@pytest.mark.parametrize(("mode", "kind"), [("LA", "PNG"), ("LA", "TIFF"), ("PA", "TIFF")])
def test_gray_and_palettes_with_alpha_go_on_white(mode, kind):
    image = photo().convert("L" if mode == "LA" else "P").convert(mode)
    image.putalpha(Image.fromarray(np.tile(np.linspace(255, 0, 90).astype(np.uint8), (60, 1))))
    content = encode(image, kind)
    stored = Image.open(io.BytesIO(content))
    assert stored.mode == mode
    assert_on_white(content, stored)


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 4))], ids=["one entry", "an alpha for each entry"])
def test_transparent_palette_entries_are_white(transparency):
    palette = photo().quantize(64)
    content = encode(palette, "PNG", transparency=transparency)
    assert decode(content).original.mode == "P"
    assert_on_white(content, Image.open(io.BytesIO(content)))
    assert (decode(content).pixels != plain(palette)).any()


@pytest.mark.parametrize(
    ("depth", "colour", "row", "trns"),
    [
        (1, 0, b"\0", struct.pack(">H", 0)),
        (8, 0, b"\x10" * 8, struct.pack(">H", 16)),
        (8, 2, b"\x10\x20\x30" * 8, struct.pack(">HHH", 16, 32, 48)),
        (16, 0, b"\x03\xe8" * 8, struct.pack(">H", 1000)),
    ],
    ids=["gray 1 bit", "gray 8 bit", "RGB", "gray 16 bit"],
)
def test_the_transparent_colour_of_a_png_is_white(depth, colour, row, trns):
    content = png((8, 4), depth, colour, (b"\0" + row) * 4, (b"tRNS", trns))
    np.testing.assert_array_equal(decode(content).pixels, WHITE)


def test_other_colours_than_the_transparent_one_stay():
    content = png((8, 4), 8, 2, (b"\0" + b"\x10\x20\x31" * 8) * 4, (b"tRNS", struct.pack(">HHH", 16, 32, 48)))
    np.testing.assert_array_equal(decode(content).pixels[0, 0], [16, 32, 49])


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("TIFF", "I"), ("JPEG2000", "I;16")]
)
def test_sixteen_bits_are_scaled_and_not_clipped(kind, mode):
    gray = photo().convert("L")
    wide = np.asarray(gray).astype(np.int32) * 257
    image = Image.fromarray(wide if mode == "I" else wide.astype(np.uint16))
    content = encode(image.convert("I").convert(mode) if mode == "I;16B" else image, kind)
    decoded = decode(content)
    if mode == "I;16B":  # Pillow's conversion to it clips, so only the stored values are known
        stored = np.asarray(Image.open(io.BytesIO(content)))
        gray = Image.fromarray(np.rint(stored / 257).astype(np.uint8))
    np.testing.assert_array_equal(decoded.pixels, plain(gray))
    assert decoded.original.mode == mode


def test_thirty_two_bits_are_read_as_sixteen_and_clipped_outside():
    values = np.array([[-5, 0, 257 * 100, 65535, 70000, 2**31 - 1]], np.int32)
    expected = np.array([[0, 0, 100, 255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(
        decode(encode(Image.fromarray(values), "TIFF")).pixels, plain(Image.fromarray(expected))
    )


def test_floating_point_is_no_supported_mode():
    with pytest.raises(UnusableImageError, match="mode F") as caught:
        decode(encode(photo().convert("F"), "TIFF"))
    assert caught.value.reason == "unsupported_mode"
    assert caught.value.original == Original(90, 60, "F")


# ---- EXIF ------------------------------------------------------------------------------------------------------------

STORED = {  # what a camera stores, so that the tag's rotation gives the upright picture (EXIF 2.32, 4.6.4)
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def orientation_tag(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_upright_pixels(orientation, kind):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(photo()))))
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encode(stored, kind, exif=orientation_tag(orientation), **options))
    np.testing.assert_array_equal(decoded.pixels, plain(photo()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_jpeg(orientation):
    content = encode(photo(), "JPEG", exif=orientation_tag(orientation))
    stored = np.asarray(Image.open(io.BytesIO(content)))
    upright = {6: np.rot90(stored, -1), 8: np.rot90(stored, 1)}.get(orientation)
    if upright is None:  # the six others are their own inverse
        upright = STORED[orientation](stored)
    expected = plain(Image.fromarray(np.ascontiguousarray(upright)))
    decoded = decode(content)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.original == Original(90, 60, "RGB")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_orientation_is_applied_in_every_mode(mode):
    gray = photo().convert("L")
    images_of = {"I;16": Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)}
    image = images_of.get(mode) or photo().convert(mode)
    turned = decode(encode(image, "PNG", exif=orientation_tag(3))).pixels
    upright = decode(encode(image.transpose(Image.Transpose.ROTATE_180), "PNG")).pixels
    np.testing.assert_array_equal(turned, upright)


@pytest.mark.parametrize(
    "exif",
    [b"", b"II*\0", b"garbage" * 9, b"II*\0\xff\xff\xff\x7f", exif_of((0x0112, 3, 1, b"\x63\0\0\0"))],
    ids=["empty", "cut", "garbage", "directory outside", "orientation 99"],
)
def test_corrupt_exif_costs_no_picture(exif):
    jpeg = encode(photo(), "JPEG")
    np.testing.assert_array_equal(decode(with_exif(jpeg, exif)).pixels, decode(jpeg).pixels)


@pytest.mark.parametrize("exif", [b"garbage", b"II*\0"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_pillow_cannot_read_costs_no_picture(kind, exif):
    content = encode(photo(), kind, exif=exif)
    with pytest.raises((SyntaxError, struct.error)):
        Image.open(io.BytesIO(content)).getexif()
    np.testing.assert_array_equal(decode(content).pixels, plain(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize(
    "other",
    [(0x010F, 5, 1, b"\x01\0\0\0"), (0x011A, 2, 4, b"72 \0"), (0x011A, 7, 1, b"\x48\0\0\0")],
    ids=["maker is a fraction", "resolution is text", "resolution is bytes"],
)
def test_the_orientation_counts_though_another_tag_is_wrong(other):
    """Pillow's exif_transpose writes the data back, and fails there."""
    jpeg, orientation = encode(photo(), "JPEG"), (0x0112, 3, 1, b"\x06\0\0\0")
    np.testing.assert_array_equal(
        decode(with_exif(jpeg, exif_of(orientation, other))).pixels,
        decode(with_exif(jpeg, exif_of(orientation))).pixels,
    )


# ---- formats ---------------------------------------------------------------------------------------------------------


def test_progressive_jpeg():
    content = encode(photo(), "JPEG", progressive=True)
    np.testing.assert_array_equal(decode(content).pixels, plain(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    first, *others = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(first, kind, save_all=True, append_images=others, **options)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert np.abs(decode(content).pixels.astype(int) - [255, 0, 0]).max() <= 3


def test_of_an_mpo_the_first_picture_is_taken():
    content = encode(photo(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    np.testing.assert_array_equal(decode(content).pixels, plain(Image.open(io.BytesIO(content))))


def test_a_first_frame_smaller_than_its_gif_stands_on_white():
    gif = encode(Image.new("P", (10, 10), 0), "GIF", transparency=0)
    np.testing.assert_array_equal(decode(gif).pixels, WHITE)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (223, 225), (224, 224)])
def test_any_shape_becomes_a_square(size):
    decoded = decode(encode(photo(*size), "PNG"))
    np.testing.assert_array_equal(decoded.pixels, plain(photo(*size)))
    assert (decoded.original.width, decoded.original.height) == size


def test_a_photograph_of_many_megapixels():
    large = photo().resize((4000, 3000))
    content = encode(large, "JPEG")
    decoded = decode(content)
    np.testing.assert_array_equal(decoded.pixels, plain(Image.open(io.BytesIO(content))))
    assert decoded.original == Original(4000, 3000, "RGB")


@pytest.mark.skipif(not AWKWARD.is_dir(), reason="no ../shared/images/awkward on this machine")
def test_real_awkward_files():
    turned = 0
    for file in sorted(AWKWARD.iterdir()):
        content = file.read_bytes()
        image = Image.open(io.BytesIO(content))
        decoded = decode(content)
        assert decoded.original == Original(image.width, image.height, image.mode), file.name
        if image.getexif().get(0x0112) == 6:
            image, turned = image.transpose(Image.Transpose.ROTATE_270), turned + 1
        if image.mode in ("RGBA", "LA"):
            white = Image.new("RGB", image.size, "white")
            white.paste(image.convert("RGBA"), mask=image.getchannel("A"))
            image = white
        difference = np.abs(decoded.pixels.astype(int) - plain(image))
        assert difference.max() <= 2, file.name
    assert turned == 3


# ---- files that are no images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"This is a shopping list: apples, pears.\n", "not_an_image"),
        ("Äpfel, Birnen\n".encode("utf-16"), "not_an_image"),
        (bytes(1000), "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (b"PK\x03\x04" + bytes(100), "not_an_image"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "not_an_image"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (png((12, 12), 8, 0, b"garbage"), "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value[:8]),
)
def test_what_is_no_image_has_a_reason(content, reason):
    assert reason_of(content) == reason


@pytest.mark.parametrize("signature", [b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_garbage_after_a_signature(signature):
    assert reason_of(signature + bytes(range(256)) * 4) in ("truncated", "decode_error", "too_large")


@pytest.mark.parametrize(
    "content", [b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), b"BMW, Audi and Opel are no fruits"], ids=["sound", "text"]
)
def test_a_signature_is_more_than_its_first_letters(content):
    assert reason_of(content) == "not_an_image"


def test_random_bytes_after_a_whole_header():
    noise = np.random.default_rng(0).bytes(5000)
    for kind in ("JPEG", "PNG"):  # not WebP, which has neither checksum nor marker: noise is a picture to it
        content = encode(photo(), kind)
        assert reason_of(content[:200] + noise) in ("truncated", "decode_error")


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize(
    "kind",
    [
        "JPEG",
        "progressive",
        "PNG",
        "WEBP",
        "GIF",
    ],
)
def test_cut_files_are_truncated(kind, tenth):
    picture = photo(300, 200)
    whole = encode(picture, "JPEG", progressive=True) if kind == "progressive" else encode(picture, kind)
    assert reason_of(whole[: len(whole) * tenth // 10]) == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_files_cut_within_the_header_are_truncated(kind):
    whole = encode(photo(), kind)
    assert {reason_of(whole[:length]) for length in range(12, 40)} == {"truncated"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_no_cut_file_becomes_half_a_picture(kind):
    whole = encode(photo(), kind)
    expected = decode(whole).pixels
    for length in range(1, len(whole), 7):
        result = outcome(whole[:length])
        if isinstance(result, DecodedImage):  # only what follows the pixels was cut
            np.testing.assert_array_equal(result.pixels, expected)
        else:
            assert result.reason in ("truncated", "decode_error", "not_an_image")


# ---- decompression bombs ---------------------------------------------------------------------------------------------


@pytest.fixture
def no_decoding(monkeypatch):
    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize("size", [(60_000, 60_000), (9_000, 10_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)])
def test_bombs_are_refused_before_they_go_off(size):
    assert reason_of(png(size, 8, 2, b"")) == "too_large"


@pytest.mark.usefixtures("no_decoding")
def test_the_limit_of_pixels_is_a_parameter():
    content = encode(photo(), "PNG")
    with pytest.raises(UnusableImageError, match="90 x 60 pixels, limit 5399") as caught:
        decode(content, max_pixels=90 * 60 - 1)
    assert caught.value.reason == "too_large"
    assert caught.value.original == Original(90, 60, "RGB")
    assert reason_of(content, max_pixels=90 * 60) == "decode_error"  # let through, to the decoder


@pytest.mark.usefixtures("no_decoding")
def test_the_largest_limit_that_is_accepted_is_kept():
    limit = FeaturizationParameters.model_json_schema()["properties"]["max_pixels"]["maximum"]
    assert reason_of(png((limit // 1000, 1000), 1, 0, b""), max_pixels=limit) == "decode_error"


def test_a_bomb_in_the_text_of_a_png():
    bomb = b"Comment\0\0" + zlib.compress(bytes(100_000_000))
    rows = (b"\0" + b"\x80" * 4) * 4
    assert reason_of(png((4, 4), 8, 0, rows, (b"zTXt", bomb))) == "decode_error"


# ---- whatever bytes there are ----------------------------------------------------------------------------------------


def examples() -> dict[str, bytes]:
    small, frames = photo(40, 30), [photo(40, 30).rotate(angle) for angle in (90, 180)]
    return {
        "jpeg": encode(small, "JPEG", exif=orientation_tag(6)),
        "progressive": encode(small, "JPEG", progressive=True),
        "cmyk": encode(small.convert("CMYK"), "JPEG"),
        "png": encode(small, "PNG"),
        "palette": encode(small.quantize(16), "PNG", transparency=3),
        "apng": encode(small, "PNG", save_all=True, append_images=frames),
        "gif": encode(small, "GIF", save_all=True, append_images=frames),
        "webp": encode(small, "WEBP"),
        "lossless": encode(small.convert("RGBA"), "WEBP", lossless=True),
        "bmp": encode(small, "BMP"),
        "tiff": encode(small, "TIFF", compression="tiff_lzw"),
        "jpeg2000": encode(small, "JPEG2000"),
        "avif": encode(small, "AVIF"),
        "mpo": encode(small, "MPO", save_all=True, append_images=frames),
    }


EXAMPLES = examples()


@st.composite
def mutated(draw):
    """A valid image with some bytes replaced, inserted or deleted, more often near its header, or cut."""
    content = bytearray(EXAMPLES[draw(st.sampled_from(sorted(EXAMPLES)))])
    for _ in range(draw(st.integers(1, 5))):
        position = draw(st.integers(0, min(len(content), draw(st.sampled_from([64, 400, 10_000])))))
        edit = draw(st.sampled_from(["replace", "replace", "insert", "delete", "cut"]))
        extra = draw(st.sampled_from([b"\0", b"\xff", b"\x7f\xff\xff\xff"]) | st.binary(min_size=1, max_size=9))
        if edit == "replace":
            content[position : position + len(extra)] = extra
        elif edit == "insert":
            content[position:position] = extra
        elif edit == "delete":
            del content[position : position + len(extra)]
        elif draw(st.integers(0, 3)) == 0:
            del content[position:]
    return bytes(content)


def assert_pixels_or_reason(content: bytes) -> None:
    result = outcome(content, max_pixels=1_000_000)
    if isinstance(result, DecodedImage):
        assert result.pixels.shape == (224, 224, 3)
        assert result.pixels.dtype == np.uint8
        assert result.original.width * result.original.height <= 1_000_000
    else:
        assert result.reason in REASONS
        assert result.reason not in ("vanished", "unreadable")
        assert len(result.detail.splitlines()) == 1
        assert len(result.detail) <= 500


@fuzz
@given(st.binary(max_size=300))
@example(b"\xff\xd8\xff\xe0")
@example(b"II*\0\x08\0\0\0\xff\xff")
def test_random_bytes_have_a_reason(content):
    with pytest.raises(UnusableImageError) as caught:
        decode(content)
    assert caught.value.reason in REASONS
    assert len(caught.value.detail.splitlines()) == 1


@settings(fuzz, max_examples=1500)
@given(mutated())
def test_damaged_images_have_pixels_or_a_reason(content):
    assert_pixels_or_reason(content)


@fuzz
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\x40\0\0\0WEBP"]),
    st.binary(max_size=300),
)
def test_a_signature_and_random_bytes_have_a_reason(signature, content):
    assert_pixels_or_reason(signature + content)


def test_the_examples_are_whole():
    for name, content in EXAMPLES.items():
        assert decode(content).pixels.std() > 10, name


@given(st.text(st.characters(exclude_categories=[]), max_size=2000))
@settings(fuzz, max_examples=100)
def test_details_are_one_short_line_of_valid_unicode(detail):
    kept = UnusableImageError("decode_error", detail).detail
    assert len(kept.splitlines()) <= 1
    assert len(kept) <= 500
    assert kept.encode("utf-8").decode("utf-8") == kept


def test_running_out_of_memory_is_no_fault_of_the_image(monkeypatch):
    def load(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        decode(encode(photo(), "PNG"))


def test_formats_that_run_other_programs_are_not_opened():
    assert not {"EPS", "PS", "WMF", "PDF"} & set(images._FORMATS)
