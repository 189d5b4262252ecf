"""One row out for each row in, whatever the files hold; features stand beside their own image."""

import hashlib
import io
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fruits_pipeline.encoders.card import EncoderCard
from fruits_pipeline.images import decode
from fruits_pipeline.schemas import N_FEATURES, arrow_schema
from fruits_pipeline.workers import featurization
from fruits_pipeline.workers.arrays import list_array
from fruits_pipeline.workers.featurization import STAGES, FeaturizeTask

CARD = EncoderCard("MobileNetV2", 0.35, "onnx", "random:1", "0" * 64)
OUTPUT = arrow_schema("featurized_images")
LABELED = pa.schema([OUTPUT.field(name) for name in ("path", "length", "modification_time", "label")])
WHEN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class Payload:
    """A broadcast variable that knows how often it was read."""

    reads: int = 0

    @property
    def value(self) -> bytes:
        self.reads += 1
        return b"network"


@dataclass
class FakeNetwork:
    """Features that tell which image they were made of: its mean colour, then zeros."""

    batches: list[int] = field(default_factory=list)
    keys: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (224, 224, 3)
        self.batches.append(len(pixels))
        return features_of(pixels)


def features_of(pixels: np.ndarray) -> np.ndarray:
    features = np.zeros((len(pixels), N_FEATURES), np.float32)
    features[:, :3] = pixels.mean(axis=(1, 2)) / 255 * 6
    return features


@pytest.fixture
def network(monkeypatch) -> FakeNetwork:
    fake = FakeNetwork()

    def network_of(card, payload, threads):
        fake.keys.append((card.fingerprint, threads))
        return fake

    monkeypatch.setattr(featurization, "network_of", network_of)
    return fake


def picture(colour: int, size: tuple[int, int] = (20, 10), kind: str = "JPEG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour % 256, 7 * colour % 256, 90)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def batch_of(paths: list[str]) -> pa.RecordBatch:
    columns = [paths, list(range(len(paths))), [WHEN] * len(paths), [f"label of {path}" for path in paths]]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, LABELED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=LABELED)


def run(batches: list[pa.RecordBatch], **changes) -> tuple[list[pa.RecordBatch], list[dict]]:
    sizes = {"batch_size": 3, "read_ahead": 2, "max_pixels": 10_000, **changes}
    task = FeaturizeTask(CARD, Payload(), "run 1", threads=2, **sizes)
    results = list(task(iter(batches)))
    return results, [row for result in results for row in result.to_pylist()]


AWKWARD = {
    "whole é #1%20.jpg": (picture(10), None),
    "empty.jpg": (b"", "empty"),
    "text.jpg": (b"no image", "not_an_image"),
    "really a png.jpg": (picture(20, kind="PNG"), None),
    "cut.jpg": (picture(30)[:-8], "truncated"),
    "huge.png": (picture(40, (101, 100), "PNG"), "too_large"),
    "float.tif": (picture(50, kind="TIFF", mode="F"), "unsupported_mode"),
    "gone.jpg": (None, "vanished"),
    "locked.jpg": (picture(60), "unreadable"),
    "gray.jpg": (picture(70, mode="L"), None),
}


@pytest.fixture
def awkward(tmp_path, monkeypatch):
    """Awkward files, by their paths as Spark lists them."""
    for name, (content, _) in AWKWARD.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    read_bytes = Path.read_bytes

    def guarded(path: Path) -> bytes:
        if path.name == "locked.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    return [f"file:{tmp_path / name}" for name in AWKWARD]


def test_awkward_files_have_a_row_each(network, awkward):
    results, rows = run([batch_of(awkward)])
    assert [result.schema for result in results] == [OUTPUT]
    assert [row["path"] for row in rows] == awkward
    assert [row["reason"] for row in rows] == [reason for _, reason in AWKWARD.values()]
    for number, (row, (content, reason)) in enumerate(zip(rows, AWKWARD.values(), strict=True)):
        was_read = reason not in ("vanished", "unreadable")
        assert row["sha256"] == (hashlib.sha256(content).hexdigest() if was_read else None)
        assert (row["length"], row["modification_time"]) == (number, WHEN)
        assert row["label"] == f"label of {row['path']}"
        assert (row["encoder"], row["run_id"]) == (CARD.fingerprint, "run 1")
        assert (row["features"] is None) == (row["detail"] is not None) == (reason is not None)
        if reason is None:
            expected = features_of(decode(content).pixels[None])[0]
            np.testing.assert_array_equal(np.array(row["features"], np.float32), expected)


def test_the_original_size_and_mode_are_kept_where_they_are_known(network, awkward):
    _, rows = run([batch_of(awkward)])
    found = {Path(row["path"]).name: (row["width"], row["height"], row["mode"]) for row in rows}
    assert found == {
        "whole é #1%20.jpg": (20, 10, "RGB"),
        "empty.jpg": (None, None, None),
        "text.jpg": (None, None, None),
        "really a png.jpg": (20, 10, "RGB"),
        "cut.jpg": (20, 10, "RGB"),
        "huge.png": (101, 100, "RGB"),
        "float.tif": (20, 10, "F"),
        "gone.jpg": (None, None, None),
        "locked.jpg": (None, None, None),
        "gray.jpg": (20, 10, "L"),
    }


@pytest.mark.parametrize(("batch_size", "read_ahead"), [(1, 0), (3, 2), (256, 16)])
def test_rows_keep_their_order_and_their_features_over_many_batches(network, tmp_path, batch_size, read_ahead):
    """150 files, every seventh broken, in Arrow batches that are not those of the network nor of the result."""
    paths = []
    for i in range(150):
        (tmp_path / f"{i}.png").write_bytes(b"broken" if i % 7 == 0 else picture(i, (2, 2), "PNG"))
        paths.append(f"file:{tmp_path}/{i}.png")
    batches = [batch_of(paths[start:stop]) for start, stop in ((0, 1), (1, 90), (90, 90), (90, 150))]
    results, rows = run(batches, batch_size=batch_size, read_ahead=read_ahead)
    assert [result.num_rows for result in results] == [64, 64, 22]
    assert [row["path"] for row in rows] == paths
    assert [row["reason"] is not None for row in rows] == [i % 7 == 0 for i in range(150)]
    for i, row in enumerate(rows):
        if i % 7:
            assert row["features"][:3] == pytest.approx([i / 255 * 6, 7 * i % 256 / 255 * 6, 90 / 255 * 6], abs=0.03)
    assert max(network.batches) <= batch_size
    assert sum(network.batches) == sum(1 for i in range(150) if i % 7)


@pytest.mark.parametrize(
    ("batch_size", "calls"),
    [(1, [(4, 1)] * 4 + [(8, 1)] * 4 + [(9, 1)]), (3, [(6, 3), (6, 3), (9, 3)]), (5, [(5, 5), (9, 4)])],
)
def test_some_images_are_decoded_before_the_first_of_them_is_encoded(network, tmp_path, monkeypatch, batch_size, calls):
    """Each call of the network: how many images were decoded by then, and how many it gets."""
    decoded = []
    decode_rgb = featurization.decode_rgb
    monkeypatch.setattr(featurization, "decode_rgb", lambda *given: decoded.append(1) or decode_rgb(*given))
    seen = []
    monkeypatch.setattr(FakeNetwork, "__call__", lambda _, x: seen.append((len(decoded), len(x))) or features_of(x))
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(picture(i, (2, 2), "PNG"))
    run([batch_of([f"file:{tmp_path}/{i}.png" for i in range(9)])], batch_size=batch_size)
    assert seen == calls


def test_remote_files_are_read_ahead_and_stay_in_order(network):
    import fsspec

    memory = fsspec.filesystem("memory")
    paths = [f"memory://bucket/{i}.png" for i in range(30)]
    for i in range(30):
        if i % 5:
            memory.pipe_file(f"bucket/{i}.png", picture(i, (2, 2), "PNG"))
    _, rows = run([batch_of(paths)], read_ahead=4)
    memory.store.clear()
    assert [row["path"] for row in rows] == paths
    assert [row["reason"] for row in rows] == [None if i % 5 else "vanished" for i in range(30)]


def test_only_broken_files(network, tmp_path):
    _, rows = run([batch_of([f"file:{tmp_path}/{i}.jpg" for i in range(5)])])
    assert [row["reason"] for row in rows] == ["vanished"] * 5
    assert network.batches == []


def test_no_rows_no_batches(network):
    assert run([])[0] == []
    assert run([batch_of([])])[0] == []


def test_the_network_is_asked_for_by_card_and_threads(network, awkward):
    run([batch_of(awkward)])
    assert set(network.keys) == {(CARD.fingerprint, 2)}


def test_a_passing_fault_fails_the_task(network, tmp_path, monkeypatch):
    def broken(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(OSError, match="Input/output"):
        run([batch_of([f"file:{tmp_path}/a.jpg"])])


@dataclass
class Total:
    """An accumulator."""

    value: float = 0.0

    def add(self, term: float) -> None:
        self.value += term


def test_the_seconds_of_a_task_are_handed_over_by_stage(network, awkward):
    sums = {stage: Total() for stage in STAGES}
    began = time.perf_counter()
    for _ in run([batch_of(awkward * 8)], sums=sums)[0]:
        pass
    elapsed = time.perf_counter() - began
    seconds = {stage: total.value for stage, total in sums.items()}
    assert min(seconds[stage] for stage in ("reading", "decoding", "resizing", "inference")) > 0
    assert sum(seconds.values()) < elapsed


# ---- list_array ------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5))
def test_nulls_may_stand_anywhere(is_null, d):
    n = is_null.count(False)
    features = np.arange(n * d, dtype=np.float32).reshape(n, d)
    array = list_array(features, is_null)
    array.validate(full=True)
    rows = iter(features.tolist())
    assert array.to_pylist() == [None if null else next(rows) for null in is_null]
    assert array.null_count == is_null.count(True)
    assert array.type == pa.list_(pa.float32())


def test_features_need_not_be_contiguous():
    features = np.arange(12, dtype=np.float32).reshape(4, 3).T
    assert list_array(features, [False, True, False, False]).to_pylist() == [
        [0, 3, 6, 9],
        None,
        [1, 4, 7, 10],
        [2, 5, 8, 11],
    ]
