"""A worker's share of the images: read, decode, resize, encode, and account for every one."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pyarrow as pa

from fruits_pipeline.encoders.card import EncoderCard
from fruits_pipeline.encoders.runtime import Network, network_of
from fruits_pipeline.images import Original, UnusableImageError, decode_rgb, judged_by, resize
from fruits_pipeline.schemas import N_FEATURES, arrow_schema
from fruits_pipeline.storage import ImageFile, read_files
from fruits_pipeline.workers.arrays import list_array
from fruits_pipeline.workers.clock import StageClock, Sum

if TYPE_CHECKING:
    from pyspark import Broadcast

STAGES: Final = ("loading", "reading", "decoding", "resizing", "inference", "writing")
"""What a worker's time goes to: loading the encoder (once per process), the four steps of an image, and Parquet."""

ROWS_PER_BATCH: Final = 64
"""Rows of one Arrow batch: 64 x 1280 float32 are 330 KB."""

DECODED_TOGETHER: Final = 4
"""Images that are read, decoded and resized one after the other before they are encoded, at least. The network drives
everything else out of a core's cache: with 4, reading and decoding take two thirds of the time that they take with 1.
With 32, the pixels themselves must be fetched again."""

Row = dict[str, Any]
T = TypeVar("T")


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive items, `size` at a time; the last group may be smaller."""
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group


def decoded_together(batch_size: int) -> int:
    """How many images are decoded before they are encoded: `DECODED_TOGETHER` or more, a whole number of batches."""
    return batch_size * math.ceil(DECODED_TOGETHER / batch_size)


@dataclass(frozen=True)
class FeaturizeTask:
    """The function of the workers that makes `featurized_images`.

    Attributes:
        card: Which encoder.
        payload: Its bytes, broadcast; read only by processes that do not have the network yet.
        run_id: Of the batch.
        threads: Cores that one task owns.
        batch_size: Images per call of the network.
        read_ahead: Files read in advance.
        max_pixels: Larger images are refused.
        sums: Accumulators by stage.
    """

    card: EncoderCard
    payload: Broadcast[bytes]
    run_id: str
    threads: int
    batch_size: int
    read_ahead: int
    max_pixels: int
    sums: Mapping[str, Sum] = field(default_factory=dict)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turns batches of labeled images into batches of `featurized_images`, one row for one row."""
        share = _Share(self, StageClock(self.sums))
        images = (row for batch in batches for row in batch.to_pylist())
        for rows in groups(share.featurize(images), ROWS_PER_BATCH):
            yield record_batch(rows)
        share.clock.hand_over()


@dataclass(frozen=True)
class _Share:
    """The images of one task, and where the time goes that they take."""

    task: FeaturizeTask
    clock: StageClock

    def featurize(self, images: Iterator[Row]) -> Iterator[Row]:
        """One row of `featurized_images` for each image, in order."""
        images, images_to_read = itertools.tee(images)
        files = read_files((image["path"] for image in images_to_read), self.task.read_ahead)
        read = zip(images, self.clock.each("reading", files), strict=True)
        rows_of_images = (self._decoded(image, file) for image, file in read)
        for rows in groups(rows_of_images, decoded_together(self.task.batch_size)):
            yield from self._encoded(rows)

    def _decoded(self, image: Row, file: ImageFile) -> Row:
        """All columns of one image but its features; `pixels` stands in for them."""
        pixels, original, problem = self._pixels(file)
        return {
            **image,
            "sha256": None if file.problem else hashlib.sha256(file.content).hexdigest(),
            "width": original.width if original else None,
            "height": original.height if original else None,
            "mode": original.mode if original else None,
            "pixels": pixels,
            "features": None,
            "reason": problem.reason if problem else None,
            "detail": problem.detail if problem else None,
            "judged_by": judged_by(self.task.max_pixels),
            "encoder": self.task.card.fingerprint,
            "run_id": self.task.run_id,
        }

    def _pixels(self, file: ImageFile) -> tuple[np.ndarray | None, Original | None, UnusableImageError | None]:
        if file.problem:
            return None, None, file.problem
        try:
            with self.clock("decoding"):
                rgb, original = decode_rgb(file.content, self.task.max_pixels)
            with self.clock("resizing"):
                return resize(rgb, original), original, None
        except UnusableImageError as problem:
            return None, problem.original, problem

    def _encoded(self, rows: list[Row]) -> list[Row]:
        """The rows with their features, `batch_size` images in one call of the network."""
        good = (row for row in rows if row["pixels"] is not None)
        for batch in groups(good, self.task.batch_size):
            network = self._network()
            with self.clock("inference"):
                features = network(_stacked([row["pixels"] for row in batch]))
            for row, vector in zip(batch, features, strict=True):
                row["features"] = vector
        for row in rows:
            del row["pixels"]  # 150 KB each, not needed while the row waits for its Arrow batch
        return rows

    def _network(self) -> Network:
        with self.clock("loading"):
            return network_of(self.task.card, lambda: self.task.payload.value, self.task.threads)


def _stacked(pixels: list[np.ndarray]) -> np.ndarray:
    """One array of all images; of a single image a view, which saves a copy of 150 KB."""
    return pixels[0][np.newaxis] if len(pixels) == 1 else np.stack(pixels)


def record_batch(rows: list[Row]) -> pa.RecordBatch:
    """Rows of `featurized_images` as Arrow; features are (1280,) float32 arrays or None."""
    schema = arrow_schema("featurized_images")
    columns = [
        _feature_column([row["features"] for row in rows])
        if field.name == "features"
        else pa.array([row[field.name] for row in rows], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _feature_column(features: list[np.ndarray | None]) -> pa.Array:
    vectors = [vector for vector in features if vector is not None]
    matrix = np.stack(vectors) if vectors else np.empty((0, N_FEATURES), np.float32)
    return list_array(matrix, [vector is None for vector in features])
