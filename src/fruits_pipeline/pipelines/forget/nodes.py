"""Removing all that was made of given images."""

import logging
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import ForgetParameters
from fruits_pipeline.pipelines.featurization.nodes import digest_of
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.workers.summaries import Summary
from fruits_pipeline.workers.writing import MappedRows

logger = logging.getLogger(__name__)


def find_forgotten(committed_images: DataFrame, labeled_images: DataFrame, parameters: ForgetParameters) -> DataFrame:
    """Finds the images that are to be forgotten.

    Args:
        committed_images: Every row that any run has made.
        labeled_images: The images of the last listing.
        parameters: By path, label or content.

    Returns:
        `path`, each once, kept in memory: the tables that it was found in are about to lose it.

    Raises:
        InputError: If nothing is asked for.
    """
    if not (parameters.paths or parameters.labels or parameters.sha256):
        raise InputError(
            'Forget what? Name images with --params="forget.paths=/photos/Apple/1.jpg;/photos/Pear/", '
            "forget.labels=Apple or forget.sha256=…; several are separated by semicolons."
        )
    by_name = has_path(parameters.paths) | F.col("label").isin(*parameters.labels)
    by_content = F.col("sha256").isin(*parameters.sha256)
    rows = committed_images.where(by_name | F.coalesce(by_content, F.lit(False))).select("path")
    return rows.union(labeled_images.where(by_name).select("path")).distinct().persist()


def has_path(paths: tuple[str, ...]) -> Column:
    """Whether a row's path is one of these, or below one that ends with a slash; local ones with or without `file:`."""
    condition = F.lit(False)
    for path in paths:
        full = path if "://" in path or path.startswith("file:") else f"file:{path}"
        condition |= F.startswith("path", F.lit(full)) if full.endswith("/") else F.col("path") == full
    return condition


def drop_forgotten(table: DataFrame, forgotten: DataFrame, *before: object) -> DataFrame:
    """Drops the rows of forgotten images.

    The table is written anew even if it has none of them: its earlier versions, and what a dead run left, may.

    Args:
        table: Any table with a `path`.
        forgotten: `path`.
        before: What must be done before; its content plays no part.

    Returns:
        The other rows.
    """
    return table.join(forgotten, "path", "left_anti").select(table.columns)


def count_remaining_features(image_counts: dict[str, Any], remaining_image_status: Summary) -> dict[str, Any]:
    """Makes the next fit notice that features are gone, whichever pipelines it runs with.

    Args:
        image_counts: Of the last run.
        remaining_image_status: What is left.

    Returns:
        The same counts, but for `with_features` and `digest`.
    """
    with_features, digest = remaining_image_status["with_features"], digest_of(remaining_image_status)
    return {**image_counts, "with_features": with_features, "digest": digest}


def count_forgotten(
    committed_images: DataFrame,
    image_index: DataFrame,
    labeled_images: DataFrame,
    image_status: DataFrame,
    reduced_features: DataFrame,
    raw_images: MappedRows,
    forgotten: DataFrame,
    run: RunRecord,
) -> dict[str, Any]:
    """Counts what is about to be removed, and what would come back.

    Args:
        committed_images: `featurized_images` so far.
        image_index: A table that loses rows.
        labeled_images: A table that loses rows.
        image_status: A table that loses rows.
        reduced_features: A table that loses rows.
        raw_images: The files that are there now.
        forgotten: `path`.
        run: This run.

    Returns:
        `run_id`; `images`, how many are forgotten; `rows`, how many rows of each table; `still_in_raw`, how many of
        the files are still there.
    """
    tables = {
        "featurized_images": committed_images,
        "image_index": image_index,
        "labeled_images": labeled_images,
        "image_status": image_status,
        "reduced_features": reduced_features,
        "raw_images": raw_images.to_dataframe(),
    }
    rows = {name: table.join(forgotten, "path", "left_semi").count() for name, table in tables.items()}
    return {"run_id": run.run_id, "images": forgotten.count(), "still_in_raw": rows.pop("raw_images"), "rows": rows}


def report_forgotten(counts: dict[str, Any], *removed: object) -> dict[str, Any]:
    """Says what was removed, when all of it is.

    Args:
        counts: From `count_forgotten`.
        removed: The last tables to be written; their content plays no part.

    Returns:
        The counts.
    """
    logger.info("Forgotten: %d images, rows by table: %s", counts["images"], counts["rows"])
    if counts["still_in_raw"]:
        logger.warning(
            "%d of the images are still in the images folder: remove them there, or the next run does them again.",
            counts["still_in_raw"],
        )
    return counts
