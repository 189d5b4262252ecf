"""A folder of files as a table of their names; no file is opened."""

from __future__ import annotations

import os
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from fruits_pipeline.listing import list_files
from fruits_pipeline.workers.listing import ListFolder
from fruits_pipeline.workers.writing import MappedRows


class ImageFolderDataset(AbstractDataset[None, Any]):
    """Lists a folder and all folders below it, in a Spark task and page by page, so that the driver holds no list.

    ```yaml
    raw_images:
      type: fruits_pipeline.datasets.ImageFolderDataset
      filepath: data/01_raw/sample
    ```
    """

    _SINGLE_PROCESS = True  # Spark cannot be shared with Kedro's ParallelRunner

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; no session is started.

        Args:
            filepath: Root of the images, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        filepath = str(filepath)
        self._filepath = filepath if "://" in filepath else os.path.abspath(filepath)
        self.metadata = metadata
        self.clock: dict[str, Any] = {}

    def load(self) -> MappedRows:
        """`path`, `length`, `modification_time`, `hidden` of every file; listed when the rows are used, each time.

        `to_dataframe()` of what is returned makes a Spark DataFrame of it.
        """
        from kedro_datasets._utils.spark_utils import get_spark_with_remote_support

        spark = get_spark_with_remote_support()
        one_task = spark.range(0, 1, numPartitions=1)
        self.clock = {"listing": spark.sparkContext.accumulator(0.0)}
        return MappedRows(one_task, ListFolder(self._filepath, self.clock), "raw_images")

    def save(self, data: None) -> None:
        """Raw images are an input.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("raw_images is read-only.")

    def _exists(self) -> bool:
        return next(list_files(self._filepath), None) is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
