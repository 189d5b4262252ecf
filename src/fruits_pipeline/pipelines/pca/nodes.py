"""Principal components of the standardised features, and the projection on them."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.datasets.fits import KeptFit
from fruits_pipeline.errors import InputError
from fruits_pipeline.fits import ARRAYS, Arrays, Fit, FitCard, compare_fits, fingerprint_of
from fruits_pipeline.parameters import PcaParameters
from fruits_pipeline.pipelines.featurization.nodes import digest_of, locate_current_features
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.workers.features import PLACE, WithFeatures
from fruits_pipeline.workers.projection import Project
from fruits_pipeline.workers.summaries import Summary, named
from fruits_pipeline.workers.writing import MappedRows

logger = logging.getLogger(__name__)

_EQUAL = 1e-8
"""Relative difference below which two loadings are equal up to rounding."""


def fit_pca(moments: Arrays, scaler: Arrays, parameters: PcaParameters) -> Arrays:
    """Fits PCA on the standardised features, from their moments alone.

    Equal to scikit-learn's StandardScaler + PCA: the covariance of standardised features is the comoment divided by
    (n - 1) and by both scales, and its eigenvectors are the components. Each component's sign makes its largest
    absolute loading positive.

    Args:
        moments: `count`, `mean`, `comoment` of n images.
        scaler: `mean`, `scale`.
        parameters: Share of variance, or number of components.

    Returns:
        `components` (k, 1280), `explained_variance` (k,), `explained_variance_ratio` (k,), all float64, and
        `total_variance` (1,). k = 0 where there is no variance at all: one image, or all images alike.

    Raises:
        InputError: If more components are asked for than n images have.
    """
    count, scale = int(moments["count"][0]), scaler["scale"]
    covariance = moments["comoment"] / max(count - 1, 1) / np.outer(scale, scale)
    variances, vectors = np.linalg.eigh(covariance)
    variances, components = np.maximum(variances[::-1], 0.0), vectors.T[::-1]
    k = choose_k(variances, count, parameters)
    total = variances.sum()
    ratio = variances[:k] / total if total > 0 else np.zeros(k)
    logger.info("PCA keeps %d components with %.2f %% of the variance of %d images", k, 100 * ratio.sum(), count)
    return {
        "components": np.ascontiguousarray(_with_fixed_signs(components[:k])),
        "explained_variance": np.ascontiguousarray(variances[:k]),
        "explained_variance_ratio": np.ascontiguousarray(ratio),
        "total_variance": np.array([total]),
    }


def choose_k(variances: np.ndarray, count: int, parameters: PcaParameters) -> int:
    """Number of components to keep.

    Args:
        variances: (d,) all eigenvalues, largest first, none negative.
        count: Number of images n; at most min(n - 1, d) components can vary.
        parameters: `n_components` if given, else the smallest k whose shares sum to at least `variance`.

    Returns:
        k, 0 where nothing varies.

    Raises:
        InputError: If `n_components` exceeds min(n - 1, d).
    """
    most = min(count - 1, len(variances))
    if parameters.n_components is not None:
        if parameters.n_components > most:
            raise InputError(
                f"pca.n_components={parameters.n_components} is out of range: {count} images of {len(variances)} "
                f"features have at most {most} components. Lower it, or go by --params=pca.variance=0.95."
            )
        return parameters.n_components
    rank = int(np.count_nonzero(variances > variances[0] * len(variances) * np.finfo(np.float64).eps))
    if rank == 0:
        return 0
    shares = np.cumsum(variances) / variances.sum()
    return min(int(np.searchsorted(shares, parameters.variance)) + 1, rank, most)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    """Turns each row so that its entry of largest absolute value, of equal ones the first, is positive."""
    sizes = np.abs(components)
    is_largest = sizes >= sizes.max(axis=1, keepdims=True, initial=0.0) * (1 - _EQUAL)
    signs = np.sign(components[np.arange(len(components)), is_largest.argmax(axis=1)])
    turned: np.ndarray = components * np.where(signs == 0, 1.0, signs)[:, None]
    return turned


def keep_fit(
    image_counts: dict[str, Any],
    moments: Arrays,
    scaler: Arrays,
    pca: Arrays,
    kept_fits: list[KeptFit],
    parameters: PcaParameters,
    run: RunRecord,
) -> Fit:
    """Puts scaler and components together under one name, and compares them with the fit in use so far.

    Args:
        image_counts: Whose features are there, and their `digest`.
        moments: For the number of images, and the digest of the features that they are of.
        scaler: `mean`, `scale`.
        pca: `components` and their variances.
        kept_fits: All earlier fits.
        parameters: Of the PCA.
        run: This run.

    Returns:
        The fit. One that was made before keeps the card that it got then.

    Raises:
        InputError: If the moments are of other features than those that are there now.
    """
    encoder = image_counts["encoder"]
    if moments["digest"].tobytes() != image_counts["digest"].encode():
        raise InputError(
            "The stored moments are of other features than those that are there now. Run scaling before pca: "
            "kedro run --pipelines=scaling,pca, or kedro run."
        )
    arrays = {name: array for name, array in {**scaler, **pca}.items() if name in ARRAYS}
    card = FitCard(
        fit=fingerprint_of(encoder, arrays),
        encoder=encoder,
        run_id=run.run_id,
        n_images=int(moments["count"][0]),
        n_components=len(arrays["components"]),
        variance_reached=float(arrays["explained_variance_ratio"].sum()),
        parameters=parameters.model_dump(mode="json"),
        git_commit=run.git_commit,
    )
    same = [kept.card for kept in kept_fits if kept.card.fit == card.fit]
    compared = compare_with_current(card, arrays, kept_fits)
    return Fit(replace(same[0] if same else card, compared=compared), arrays)


def compare_with_current(card: FitCard, arrays: Arrays, kept_fits: list[KeptFit]) -> dict[str, Any]:
    """How far new axes lie from those in use so far; nothing where there are none, or of another encoder."""
    for kept in kept_fits:
        if kept.is_current and kept.card.encoder == card.encoder:
            compared = compare_fits(arrays, kept.load())
            logger.info(
                "Axes compared with fit %s: principal angles %s degrees", kept.card.fit, compared["principal_angles"]
            )
            return compared
    return {}


def project_features(
    featurized_images: DataFrame,
    image_status: DataFrame,
    image_counts: dict[str, Any],
    kept_projection: Summary,
    fit: Fit,
    run: RunRecord,
) -> Iterator[MappedRows]:
    """Standardises the current features and projects them on the components of a fit.

    Args:
        featurized_images: All committed batches.
        image_status: Which rows are current.
        image_counts: How many there are, and their `digest`.
        kept_projection: What is in `reduced_features` as it stands.
        fit: Scaler and components.
        run: Names the rows.

    Yields:
        `reduced_features`, not yet evaluated; nothing if what is there was made of the same features with this fit.
    """
    has_new_images = run.n_pending > 0  # then there is nothing to find out by reading the projection
    if not has_new_images and is_projected(kept_projection, image_counts["digest"], fit):
        logger.info("The features and the fit are those of the last run: its projection is still good")
        return
    places = locate_current_features(featurized_images, image_status)
    rows = places.select(
        "path",
        "label",
        "sha256",
        "encoder",
        F.col("run_id").alias("features_run_id"),
        F.lit(fit.card.fit).alias("fit"),
        F.lit(run.run_id).alias("run_id"),
        *PLACE,
    )
    arrays = (fit.arrays["mean"], fit.arrays["scale"], fit.arrays["components"])
    project = Project(places.sparkSession.sparkContext.broadcast(arrays))
    yield MappedRows(rows, WithFeatures(project), "reduced_features", n_rows=image_counts["with_features"])


def is_projected(projection: Summary, digest: str, fit: Fit) -> bool:
    """Whether a projection holds just the features with this digest, all projected with this fit."""
    fits = {fit.card.fit: projection["rows"]} if projection else None
    return named(projection, "fit") == fits and digest_of(projection) == digest
