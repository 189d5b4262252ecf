"""Mean and spread of all features, from one pass over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from threadpoolctl import threadpool_limits

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import N_FEATURES, ScalingParameters
from fruits_pipeline.pipelines.featurization.nodes import select_current_features
from fruits_pipeline.pipelines.scaling.moments import Moments, merge_pairwise

Arrays = dict[str, np.ndarray]

_PARTIAL_SCHEMA = "count bigint, mean binary, comoment binary"
_COLLECTED_PARTS = 8
"""Partial moments (13 MB each) that the driver takes; more are merged in the workers first."""


def compute_moments(featurized_images: DataFrame, image_status: DataFrame, parameters: ScalingParameters) -> Arrays:
    """Sums the moments of the current features in one pass; nothing else ever reads them all for statistics.

    Args:
        featurized_images: All committed batches.
        image_status: Which rows are current.
        parameters: Rows per matrix product.

    Returns:
        `count` (1,) int64, `mean` (1280,) float64, `comoment` (1280, 1280) float64 (see `Moments`).

    Raises:
        InputError: If there is no image with features.
    """
    features = select_current_features(featurized_images, image_status).select("features")
    rows = _partial_moments(features, parameters.block_rows).collect()
    moments = merge_pairwise(_unpack(row["count"], row["mean"], row["comoment"]) for row in rows)
    if moments is None:
        raise InputError(
            "No image has features, so there is nothing to scale: every image is in quarantine. The reasons are in "
            "the columns reason and detail of 03_primary/image_status."
        )
    return {"count": np.array([moments.count]), "mean": moments.mean, "comoment": moments.comoment}


def _partial_moments(features: DataFrame, block_rows: int) -> DataFrame:
    """At most `_COLLECTED_PARTS` partial moments, without leaving a core idle."""
    partial = _PartialMoments(block_rows)
    if features.sparkSession.sparkContext.defaultParallelism <= _COLLECTED_PARTS:
        return features.coalesce(_COLLECTED_PARTS).mapInArrow(partial, _PARTIAL_SCHEMA)
    partials = features.mapInArrow(partial, _PARTIAL_SCHEMA)
    return partials.repartition(_COLLECTED_PARTS).mapInArrow(_merge_partials, _PARTIAL_SCHEMA)


def fit_scaler(moments: Arrays) -> Arrays:
    """Mean and scale of each feature, as scikit-learn's StandardScaler fits them.

    Args:
        moments: From `compute_moments`.

    Returns:
        `mean` (1280,) float64; `scale` (1280,) float64, the standard deviation with divisor n, and 1 for features
        that are constant up to rounding.
    """
    count, mean = int(moments["count"][0]), moments["mean"]
    variance = np.diagonal(moments["comoment"]) / count
    scale = np.where(_is_constant(variance, mean, count), 1.0, np.sqrt(variance))
    return {"mean": mean, "scale": scale}


def _is_constant(variance: np.ndarray, mean: np.ndarray, count: int) -> np.ndarray:
    """Whether a variance is no more than the rounding error of computing it.

    The bound is scikit-learn's (sklearn.preprocessing._data._is_constant_feature), after Chan, Golub and LeVeque.
    """
    eps = np.finfo(np.float64).eps
    bound: np.ndarray = variance <= count * eps * variance + (count * mean * eps) ** 2
    return bound


class _PartialMoments:
    """Moments of one partition, for `mapInArrow`."""

    def __init__(self, block_rows: int) -> None:
        self._block_rows = block_rows

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with threadpool_limits(1):  # one task, one core
            merged = merge_pairwise(Moments.of(block) for block in self._blocks(batches))
        if merged is not None:
            yield _pack(merged)

    def _blocks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[np.ndarray]:
        for batch in batches:
            matrix = feature_matrix(batch.column("features"))
            for start in range(0, len(matrix), self._block_rows):
                yield matrix[start : start + self._block_rows]


def feature_matrix(column: pa.ListArray) -> np.ndarray:
    """The (n, 1280) float32 matrix of a `list<float>` column without nulls; a view, not a copy."""
    matrix: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), N_FEATURES)
    return matrix


def _merge_partials(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = (row for batch in batches for row in batch.to_pylist())
    merged = merge_pairwise(_unpack(row["count"], row["mean"], row["comoment"]) for row in rows)
    if merged is not None:
        yield _pack(merged)


def _pack(moments: Moments) -> pa.RecordBatch:
    columns = [
        pa.array([moments.count], pa.int64()),
        pa.array([moments.mean.tobytes()], pa.binary()),
        pa.array([moments.comoment.tobytes()], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["count", "mean", "comoment"])


def _unpack(count: int, mean: bytes, comoment: bytes) -> Moments:
    vector = np.frombuffer(mean)
    return Moments(count, vector, np.frombuffer(comoment).reshape(len(vector), len(vector)))
