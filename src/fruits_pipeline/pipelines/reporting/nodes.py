"""What a person looks at: two figures, the list of bad images, and the report of the run."""

from typing import Any

import pandas as pd
from plotly.graph_objects import Figure
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.encoders.card import Encoder
from fruits_pipeline.parameters import ReportingParameters
from fruits_pipeline.pipelines.reporting.figures import draw_cumulative_variance, draw_points
from fruits_pipeline.pipelines.scaling.nodes import Arrays
from fruits_pipeline.run_record import RunRecord, package_versions, peak_memory, plain, spark_versions


def draw_scree(pca: Arrays) -> Figure:
    """Explained variance ratio of each component, and its sum."""
    return draw_cumulative_variance(pca["explained_variance_ratio"])


def draw_component_scatter(reduced_features: DataFrame, pca: Arrays, parameters: ReportingParameters) -> Figure:
    """The images on the first two components, coloured by label.

    Args:
        reduced_features: `path`, `label`, `pca_features`.
        pca: For the share of variance on the axes.
        parameters: How many images are drawn at most; the same ones in every run (chosen by a hash of the path).
    """
    axes = [F.get("pca_features", F.lit(i)).alias(f"pc{i + 1}") for i in range(2)]
    chosen = reduced_features.orderBy(F.xxhash64("path")).limit(parameters.scatter_points)
    points = pd.DataFrame(
        [row.asDict() for row in chosen.select("path", "label", *axes).collect()],
        columns=["path", "label", "pc1", "pc2"],
    )
    return draw_points(points.sort_values(["label", "path"]), pca["explained_variance_ratio"])


def list_quarantine(image_status: DataFrame) -> pd.DataFrame:
    """The images that have no features, with the reasons, in a table that people can open."""
    columns = ["path", "label", "reason", "detail", "length", "run_id"]
    rows = image_status.where(F.col("reason").isNotNull()).select(columns).collect()
    return pd.DataFrame([row.asDict() for row in rows], columns=columns).sort_values("path", ignore_index=True)


def write_run_report(
    counts: dict[str, int],
    ignored_files: dict[str, int],
    quarantine: pd.DataFrame,
    encoder: Encoder,
    pca: Arrays,
    run: RunRecord,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """Everything that one would ask about this run later.

    Args:
        counts: From `count_images`.
        ignored_files: Files that are no images, by extension.
        quarantine: From `list_quarantine`.
        encoder: The encoder of this run.
        pca: The fitted components.
        run: Id, clock and code version.
        parameters: All parameters, overrides included.

    Returns:
        The report, JSON-ready.
    """
    return {
        "run_id": run.run_id,
        "env": run.env,
        "pipelines": list(run.pipelines),
        "git_commit": run.git_commit,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "counts": counts,
        "accounting": "listed = featurised + quarantined + unchanged",
        "ignored_files": ignored_files,
        "quarantine_reasons": {str(reason): int(n) for reason, n in quarantine["reason"].value_counts().items()},
        "encoder": encoder.card.to_dict(),
        "pca": describe_pca(pca),
        "seconds": {"total": round(run.elapsed, 3), "nodes": dict(run.seconds), "workers": run.worker_seconds},
        "images_per_second": images_per_second(counts["featurised"] + counts["quarantined"], run),
        "peak_memory_mb": peak_memory(),
        "versions": {**package_versions(), **spark_versions()},
        "parameters": plain(parameters),
    }


def describe_pca(pca: Arrays) -> dict[str, Any]:
    """Number of components, and the share of the variance that they reach."""
    ratio = pca["explained_variance_ratio"]
    return {"n_components": len(ratio), "variance_reached": float(ratio.sum())}


def images_per_second(n_images: int, run: RunRecord) -> dict[str, float | None]:
    """Speed of the featurization and of the whole run so far; None where no image was done."""
    seconds = {"featurization": run.seconds.get("featurize_images", 0.0), "run": run.elapsed}
    return {name: round(n_images / s, 2) if n_images and s else None for name, s in seconds.items()}
