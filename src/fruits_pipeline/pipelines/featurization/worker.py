"""What a Spark worker does with its share of the images: read, decode, encode, and account for every one."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fruits_pipeline.encoders.card import EncoderCard
from fruits_pipeline.encoders.runtime import Network, network_of
from fruits_pipeline.images import DecodedImage, UnusableImageError, decode
from fruits_pipeline.parameters import N_FEATURES, FeaturizationParameters
from fruits_pipeline.storage import ImageFile, read_files

if TYPE_CHECKING:
    from pyspark import Broadcast

ROWS_PER_BATCH = 64
"""Rows of one Arrow batch on its way back: 64 x 1280 float32 are 330 KB."""

OUTPUT = pa.schema(
    [
        ("path", pa.string()),
        ("length", pa.int64()),
        ("modification_time", pa.timestamp("us", tz="UTC")),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mode", pa.string()),
        ("features", pa.list_(pa.float32())),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("encoder", pa.string()),
        ("run_id", pa.string()),
    ]
)

Row = dict[str, Any]


@dataclass(frozen=True)
class FeaturizeTask:
    """The function that `mapInArrow` sends to the workers.

    Attributes:
        card: Which encoder.
        payload: Its bytes, broadcast; read only by processes that do not have the network yet.
        parameters: Sizes of batches, read-ahead, and the limit of pixels.
        run_id: Of the batch.
        threads: Cores that one task owns.
    """

    card: EncoderCard
    payload: Broadcast[bytes]
    parameters: FeaturizationParameters
    run_id: str
    threads: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turns batches of labeled images into batches of `featurized_images`, one row for one row."""
        rows, rows_to_read = itertools.tee(row for batch in batches for row in batch.to_pylist())
        files = read_files((row["path"] for row in rows_to_read), self.parameters.read_ahead)
        results = zip(rows, files, strict=True)
        while share := list(itertools.islice(results, ROWS_PER_BATCH)):
            yield self._record_batch([self._describe(row, file) for row, file in share])

    def _describe(self, row: Row, file: ImageFile) -> Row:
        """All columns of one image but its features; `pixels` stands in for them."""
        image, problem = self._decode(file)
        original = image.original if image else problem.original if problem else None
        read = not file.problem
        return {
            **row,
            "sha256": hashlib.sha256(file.content).hexdigest() if read else None,
            "width": original.width if original else None,
            "height": original.height if original else None,
            "mode": original.mode if original else None,
            "pixels": image.pixels if image else None,
            "reason": problem.reason if problem else None,
            "detail": problem.detail if problem else None,
            "encoder": self.card.fingerprint,
            "run_id": self.run_id,
        }

    def _decode(self, file: ImageFile) -> tuple[DecodedImage | None, UnusableImageError | None]:
        if file.problem:
            return None, file.problem
        try:
            return decode(file.content, self.parameters.max_pixels), None
        except UnusableImageError as problem:
            return None, problem

    def _record_batch(self, rows: list[Row]) -> pa.RecordBatch:
        features = self._encode([row["pixels"] for row in rows if row["pixels"] is not None])
        columns = [
            list_array(features, [row["pixels"] is None for row in rows])
            if field.name == "features"
            else pa.array([row[field.name] for row in rows], field.type)
            for field in OUTPUT
        ]
        return pa.RecordBatch.from_arrays(columns, schema=OUTPUT)

    def _encode(self, pixels: list[np.ndarray]) -> np.ndarray:
        """(n, 1280) float32 features of n images, `batch_size` images at a time."""
        network: Network = network_of(self.card, lambda: self.payload.value, self.threads)
        step = self.parameters.batch_size
        parts = [network(np.stack(pixels[i : i + step])) for i in range(0, len(pixels), step)]
        return np.concatenate(parts) if parts else np.empty((0, N_FEATURES), np.float32)


def list_array(features: np.ndarray, is_null: list[bool]) -> pa.Array:
    """An Arrow list column of the rows of `features`, with nulls in between.

    Args:
        features: (n, d) float32, the rows that are not null, in order.
        is_null: One entry per row of the column; n of them are False.

    Returns:
        `list<float>` with as many entries as `is_null`.
    """
    lengths = np.where(is_null, 0, features.shape[1])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    values = pa.array(np.ascontiguousarray(features).reshape(-1), pa.float32())
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array(is_null, pa.bool_()))
