"""A folder of files as a table of their names; no file is opened."""

from __future__ import annotations

import os
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from fruits_pipeline.listing import list_files
from fruits_pipeline.workers.clock import Sum, Total
from fruits_pipeline.workers.listing import ListFolder
from fruits_pipeline.workers.writing import MappedRows


class ImageFolderDataset(AbstractDataset[None, Any]):
    """Lists a folder and all folders below it, page by page: nobody ever holds the whole list.

    ```yaml
    raw_images:
      type: fruits_pipeline.datasets.ImageFolderDataset
      filepath: data/01_raw/sample
    ```
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; no session is started.

        Args:
            filepath: Root of the images, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        filepath = str(filepath)
        self._filepath = filepath if "://" in filepath else os.path.abspath(filepath)
        self.metadata = metadata
        self.clock: dict[str, Sum] = {}

    def load(self) -> MappedRows:
        """`path`, `length`, `modification_time`, `hidden` of every file; listed when the rows are used, each time.

        `to_dataframe()` of what is returned makes a Spark DataFrame of it.
        """
        self.clock = {"listing": Total()}
        return MappedRows(None, ListFolder(self._filepath, self.clock), "raw_images")

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
