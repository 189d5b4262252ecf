"""Principal components of the standardised features, and the projection on them."""

import logging

import numpy as np
from pyspark.sql import DataFrame

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import PcaParameters
from fruits_pipeline.pipelines.featurization.nodes import select_current_features
from fruits_pipeline.pipelines.scaling.nodes import Arrays
from fruits_pipeline.workers.projection import Project

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


def project_features(featurized_images: DataFrame, image_status: DataFrame, scaler: Arrays, pca: Arrays) -> DataFrame:
    """Standardises the current features and projects them on the components.

    Args:
        featurized_images: All committed batches.
        image_status: Which rows are current.
        scaler: `mean`, `scale`.
        pca: `components`.

    Returns:
        `path`, `label`, `pca_features` array<double>[k], not yet evaluated.
    """
    features = select_current_features(featurized_images, image_status)
    arrays = (scaler["mean"], scaler["scale"], pca["components"])
    project = Project(features.sparkSession.sparkContext.broadcast(arrays))
    return features.mapInArrow(project, "path string, label string, pca_features array<double>")
