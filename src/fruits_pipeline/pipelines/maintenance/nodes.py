"""Few large batches instead of many small ones."""

import logging
import math
from collections.abc import Iterator

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.parameters import MaintenanceParameters
from fruits_pipeline.pipelines.featurization.nodes import IDENTITY

logger = logging.getLogger(__name__)


def compact_batches(committed_images: DataFrame, parameters: MaintenanceParameters) -> Iterator[DataFrame]:
    """Puts all batches together, without rows that a later run has done again.

    Rows of images that are gone stay: their features are good if the images come back. `kedro run --pipelines=forget`
    removes them.

    Args:
        committed_images: All batches.
        parameters: Size of the files.

    Yields:
        One batch that takes the place of all; nothing if there would be no fewer files or rows.
    """
    keys = [*IDENTITY, "encoder"]
    latest = committed_images.groupBy(keys).agg(F.max("run_id").alias("run_id")).persist()
    n_rows, n_latest, n_files = committed_images.count(), latest.count(), len(committed_images.inputFiles())
    n_files_after = max(1, math.ceil(n_latest / parameters.rows_per_file))
    logger.info(
        "%d rows in %d files: %d of them are the latest, for %d files", n_rows, n_files, n_latest, n_files_after
    )
    if n_latest and (n_latest < n_rows or n_files_after < n_files):
        rows = committed_images.join(latest, [*keys, "run_id"], "left_semi").select(committed_images.columns)
        yield rows.coalesce(n_files_after)
