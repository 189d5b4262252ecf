"""A folder of files as a Spark DataFrame of their names; no file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from kedro.io import AbstractDataset, DatasetError

from fruits_pipeline.listing import list_files
from fruits_pipeline.schemas import COLUMNS, struct_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("length", pa.int64()),
        ("modification_time", pa.timestamp("us", tz="UTC")),
        ("hidden", pa.bool_()),
    ]
)


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

    def load(self) -> DataFrame:
        """`path`, `length`, `modification_time`, `hidden` of every file; listed when the table is evaluated."""
        from kedro_datasets._utils.spark_utils import get_spark_with_remote_support

        spark = get_spark_with_remote_support()
        one_task = spark.range(0, 1, numPartitions=1)
        files: DataFrame = one_task.mapInArrow(_ListFolder(self._filepath), struct_type("raw_images"))
        return files

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


@dataclass(frozen=True)
class _ListFolder:
    """The listing, for `mapInArrow`: one input row, as many output rows as there are files."""

    root: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            for page in list_files(self.root):
                columns = [[getattr(file, name) for file in page] for name in COLUMNS["raw_images"]]
                arrays = [pa.array(column, field.type) for column, field in zip(columns, LISTING, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=LISTING)
