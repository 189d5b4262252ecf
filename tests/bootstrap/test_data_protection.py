"""What docs/data_protection.md says of the data, compared with the code."""

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from fruits_pipeline.images import decode
from fruits_pipeline.schemas import COLUMNS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data_protection.md").read_text(encoding="utf-8")


def documented(start: str) -> set[str]:
    """The names in one item of a list, on as many lines as it takes."""
    (item,) = re.findall(rf"^\* {re.escape(start)}:(.*(?:\n  .*)*)", PAGE, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", item))


def test_the_tables_hold_the_columns_that_the_page_names() -> None:
    common = documented("every table of images")
    named = {
        "featurized_images": common | documented("`featurized_images` also"),
        "image_status": common | documented("`image_status` also"),
        "reduced_features": documented("`reduced_features`"),
    }
    assert common == set(COLUMNS["labeled_images"])
    assert {table: set(COLUMNS[table]) for table in named} == named
    for table in COLUMNS.keys() - named.keys() - {"raw_images"}:  # that is the listing, which is never written
        assert set(COLUMNS[table]) <= common, table


def jpeg(exif: Image.Exif | None) -> bytes:
    picture = Image.fromarray(np.arange(300 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 300, 3))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **({"exif": exif, "comment": b"at home"} if exif else {}))
    return buffer.getvalue()


def test_place_camera_and_comment_leave_no_trace_in_what_the_encoder_sees() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera of Anna"  # Make
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)})  # GPS
    tagged, plain = jpeg(exif), jpeg(None)
    assert b"Camera of Anna" in tagged
    with Image.open(io.BytesIO(tagged)) as image:
        assert image.getexif().get_ifd(0x8825)[2] == (48.0, 51.0, 29.6)
    one, other = decode(tagged), decode(plain)
    assert np.array_equal(one.pixels, other.pixels)
    assert one.original == other.original
