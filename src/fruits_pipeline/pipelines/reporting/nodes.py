"""What a person looks at: two figures, the list of bad images, and the report of the run.

pandas and Plotly are imported inside the nodes: the registry imports this room while Java starts, and half a second of
Python's work there would cost the start as much. So the nodes' types cannot name theirs, which Kedro would look up.
"""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.encoders.card import Encoder
from fruits_pipeline.fits import Fit
from fruits_pipeline.parameters import ReportingParameters
from fruits_pipeline.run_record import RunRecord, package_versions, peak_memory, plain, spark_versions
from fruits_pipeline.schemas import STATUSES


def draw_scree(fit: Fit) -> Any:
    """A Plotly figure: explained variance ratio of each component, and its sum."""
    from fruits_pipeline.pipelines.reporting.figures import draw_cumulative_variance

    return draw_cumulative_variance(fit.arrays["explained_variance_ratio"])


def draw_component_scatter(reduced_features: DataFrame, fit: Fit, parameters: ReportingParameters) -> Any:
    """A Plotly figure: the images on the first two components, coloured by label.

    Args:
        reduced_features: `path`, `label`, `pca_features`.
        fit: For the share of variance on the axes.
        parameters: How many images are drawn at most; the same ones in every run (chosen by a hash of the path).
    """
    from fruits_pipeline.pipelines.reporting.figures import draw_points

    axes = [F.get("pca_features", F.lit(i)).alias(f"pc{i + 1}") for i in range(2)]
    # Short rows, and a rank that is there: sorting copies the ones and would compute the other at each comparison.
    rows = reduced_features.select("path", "label", *axes, F.xxhash64("path").alias("rank"))
    points = rows.orderBy("rank").limit(parameters.scatter_points).drop("rank").toArrow().to_pandas()
    return draw_points(points.sort_values(["label", "path"]), fit.arrays["explained_variance_ratio"])


def list_quarantine(image_status: DataFrame) -> tuple[Any, Any]:
    """The images that have no features, with the reasons, in a table that people can open.

    Returns:
        The same pandas table twice: for the CSV file, and for the Parquet file beside it.
    """
    import pandas as pd

    columns = ["path", "label", "reason", "detail", "length", "run_id"]
    rows = image_status.where(F.col("reason").isNotNull()).select(columns).collect()
    table = pd.DataFrame([row.asDict() for row in rows], columns=columns).sort_values("path", ignore_index=True)
    return table, table


def write_run_report(
    counts: dict[str, int],
    ignored_files: dict[str, int],
    quarantine: Any,
    encoder: Encoder,
    fit: Fit,
    run: RunRecord,
    parameters: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything that one would ask about this run later.

    Args:
        counts: From `count_images`.
        ignored_files: Files that are no images, by extension.
        quarantine: From `list_quarantine`, a pandas table.
        encoder: The encoder of this run.
        fit: Scaler and components that made the projection.
        run: Id, clock and code version.
        parameters: All parameters, overrides included.

    Returns:
        The report, JSON-ready, twice: as that of the latest run, and to be kept among those of all runs.
    """
    report = {
        **run.summary("finished"),
        "counts": counts,
        "accounting": "listed = featurised + quarantined + unchanged",
        "ignored_files": ignored_files,
        "quarantine_reasons": {str(reason): int(n) for reason, n in quarantine["reason"].value_counts().items()},
        "quarantine_labels": count_by_label(quarantine),
        "encoder": encoder.card.to_dict(),
        "pca": describe_pca(fit),
        "fit": fit.card.to_dict(),
        "seconds": {"total": round(run.elapsed, 3), "nodes": dict(run.seconds), "workers": run.worker_seconds},
        "images_per_second": images_per_second(counts["featurised"] + counts["quarantined"], run),
        "peak_memory_mb": peak_memory(),
        "versions": {**package_versions(), **spark_versions()},
        "parameters": plain(parameters),
    }
    return report, report


def count_by_label(quarantine: Any) -> dict[str, dict[str, int]]:
    """Number of images in quarantine by label and reason."""
    counts: dict[str, dict[str, int]] = {}
    for label, reason in zip(quarantine["label"], quarantine["reason"], strict=True):
        of_label = counts.setdefault(label, {})
        of_label[reason] = of_label.get(reason, 0) + 1
    return counts


def list_runs(kept_reports: list[dict[str, Any]], run_report: dict[str, Any]) -> Any:
    """One line for each run that ever began, the latest first.

    Args:
        kept_reports: Of all runs; of those that did not come to their report, what was known when they began or ended.
        run_report: Of this run. The lock of the output leaves no other at work: whoever began and did not end has died.

    Returns:
        A pandas table; columns that a run has no value for are empty.
    """
    import pandas as pd

    reports = {report["run_id"]: report for report in [*kept_reports, run_report]}
    lines = [_line_of(report) for _, report in sorted(reports.items(), reverse=True)]
    return pd.DataFrame(lines).convert_dtypes()  # counts stay whole numbers beside empty ones


def _line_of(report: dict[str, Any]) -> dict[str, Any]:
    counts, status = report.get("counts", {}), report["status"]
    return {
        "run_id": report["run_id"],
        "status": "died" if status == "started" else status,
        "pipelines": " ".join(report["pipelines"]),
        "started_at": report["started_at"],
        "seconds": report.get("seconds", {}).get("total"),
        **{name: counts.get(name) for name in ("listed", *STATUSES, "in_quarantine")},
        "encoder": report.get("encoder", {}).get("fingerprint"),
        "fit": report.get("fit", {}).get("fit"),
        "n_components": report.get("pca", {}).get("n_components"),
        "git_commit": report["git_commit"],
        "error": report.get("error"),
    }


def describe_pca(fit: Fit) -> dict[str, Any]:
    """Number of components, and the share of the variance that they reach."""
    ratio = fit.arrays["explained_variance_ratio"]
    return {"n_components": len(ratio), "variance_reached": float(ratio.sum())}


def images_per_second(n_images: int, run: RunRecord) -> dict[str, float | None]:
    """Speed of the featurization and of the whole run so far; None where no image was done."""
    seconds = {"featurization": run.seconds.get("featurize_images", 0.0), "run": run.elapsed}
    return {name: round(n_images / s, 2) if n_images and s else None for name, s in seconds.items()}
