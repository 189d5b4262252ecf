"""Mean and spread of all features, from one pass over them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from fruits_pipeline.errors import ContractError, InputError
from fruits_pipeline.fits import Arrays
from fruits_pipeline.parameters import ScalingParameters
from fruits_pipeline.pipelines.featurization.nodes import locate_current_features
from fruits_pipeline.schemas import struct_of
from fruits_pipeline.workers.features import PLACE, WithFeatures
from fruits_pipeline.workers.moments import PARTIAL_SCHEMA, PartialMoments, merge_pairwise, merge_partials, unpack

logger = logging.getLogger(__name__)

_COLLECTED_PARTS = 8
"""Partial moments (13 MB each) that the driver takes; more are merged in the workers first."""


def compute_moments(
    featurized_images: DataFrame,
    image_status: DataFrame,
    image_counts: dict[str, Any],
    kept_moments: Arrays,
    parameters: ScalingParameters,
) -> Iterator[Arrays]:
    """Sums the moments of the current features in one pass; nothing else ever reads them all for statistics.

    Args:
        featurized_images: All committed batches.
        image_status: Which rows are current.
        image_counts: Their `digest`.
        kept_moments: Those of the last run, if any: still good where the digest is the same.
        parameters: Rows per matrix product.

    Yields:
        `count` (1,) int64, `mean` (1280,) float64, `comoment` (1280, 1280) float64 (see `Moments`), and `digest`, the
        digest's characters as uint8; nothing if the kept ones are still good.

    Raises:
        InputError: If there is no image with features.
        ContractError: If features are missing.
    """
    digest = np.frombuffer(image_counts["digest"].encode(), np.uint8)
    if np.array_equal(digest, kept_moments.get("digest", ())):
        logger.info("The features are those of the last run: its moments are still good")
        return
    if not image_counts["with_features"]:
        raise InputError(
            "No image has features, so there is nothing to scale: every image is in quarantine. The reasons are in "
            "the columns reason and detail of 04_feature/image_status."
        )
    places = locate_current_features(featurized_images, image_status).select(*PLACE)
    # Not collect(): Spark pickles binary columns as text, which takes half a second for two matrices.
    rows = _partial_moments(places, parameters.block_rows).toArrow().to_pylist()
    moments = merge_pairwise(unpack(row["count"], row["mean"], row["comoment"]) for row in rows)
    found = moments.count if moments else 0
    if moments is None or found != image_counts["with_features"]:
        raise ContractError(
            f"{image_counts['with_features']} images have features, but {found} were found in the batches. Run "
            "all pipelines (kedro run); if that does not mend it, do all again: --params=featurization.refresh=true."
        )
    yield {"count": np.array([moments.count]), "mean": moments.mean, "comoment": moments.comoment, "digest": digest}


def _partial_moments(places: DataFrame, block_rows: int) -> DataFrame:
    """At most `_COLLECTED_PARTS` partial moments, without leaving a core idle."""
    partial, columns = WithFeatures(PartialMoments(block_rows)), struct_of(PARTIAL_SCHEMA)
    n_cores = places.sparkSession.sparkContext.defaultParallelism
    if n_cores <= _COLLECTED_PARTS:
        return places.coalesce(n_cores).mapInArrow(partial, columns)
    partials = places.mapInArrow(partial, columns)
    return partials.repartition(_COLLECTED_PARTS).mapInArrow(merge_partials, columns)


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
