"""A Parquet table that grows by one batch per run, and of which a reader sees whole batches only."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
from kedro.io import AbstractDataset, DatasetError
from kedro.io.core import Version, generate_timestamp, get_protocol_and_path

from fruits_pipeline.schemas import struct_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

COMMITTED = "_SUCCESS"
"""Hadoop's mark of a finished job (FileOutputCommitter.SUCCEEDED_FILE_NAME); a batch without it does not exist."""


class CommittedBatchesDataset(AbstractDataset[Any, Any]):
    """Loads and saves the batches of one table as a Spark DataFrame.

    A batch is a sub-folder `batch=<run_id>`. Saving writes a new one and never touches the others. Loading reads those
    that hold `_SUCCESS`, which Spark writes last: what a dead run left behind is never read, and the next run with the
    same id clears it. Other tools that read the whole folder see the batch as a partition column.

    ```yaml
    featurized_images:
      type: fruits_pipeline.datasets.CommittedBatchesDataset
      filepath: data/04_feature/featurized_images
      table: featurized_images
      versioned: true   # Kedro gives the run's id as the save version
    ```
    """

    _SINGLE_PROCESS = True  # Spark cannot be shared with Kedro's ParallelRunner

    def __init__(
        self,
        *,
        filepath: str,
        table: str,
        version: Version | None = None,
        save_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Keeps the settings; no session is started.

        Args:
            filepath: Folder of the table, local or s3://.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
            version: Kedro's version, whose `save` is the id of the run and names the batch.
            save_args: Options for Spark's Parquet writer.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._protocol, path = get_protocol_and_path(filepath)
        self._path = str(Path(path).resolve()) if self._protocol == "file" else path
        self._table = table
        self._run_id = (version.save if version else None) or generate_timestamp()
        self._save_args = save_args or {}
        self.metadata = metadata

    def load(self) -> DataFrame:
        """All rows of all committed batches; an empty table if there is none."""
        from kedro_datasets._utils.spark_utils import get_spark_with_remote_support

        spark = get_spark_with_remote_support()
        folders = [self._spark_path(batch) for batch in self.committed_batches()]
        if folders:
            reader = spark.read.schema(struct_type(self._table)).option("__globPaths__", "false")
            rows: DataFrame = reader.parquet(*folders)
        else:
            rows = spark.createDataFrame([], struct_type(self._table))
        return rows

    def save(self, data: DataFrame) -> None:
        """Writes one batch, named after the run.

        Args:
            data: Rows of the table.

        Raises:
            DatasetError: If this run has committed a batch already.
        """
        if self.batch in self.committed_batches():
            raise DatasetError(f"{self._path}/{self.batch} is already committed; batches are never rewritten.")
        data.write.mode("overwrite").options(**self._save_args).parquet(self._spark_path(self.batch))

    @property
    def batch(self) -> str:
        """Folder name of the batch that `save` writes."""
        return f"batch={self._run_id}"

    def committed_batches(self) -> list[str]:
        """Folder names of the committed batches, oldest first."""
        fs = self._filesystem()
        if not fs.isdir(self._path):
            return []
        folders = [
            entry["name"].rstrip("/") for entry in fs.ls(self._path, detail=True) if entry["type"] == "directory"
        ]
        names = [folder.rsplit("/", 1)[-1] for folder in folders if fs.exists(f"{folder}/{COMMITTED}")]
        return sorted(name for name in names if name.startswith("batch="))

    def _filesystem(self) -> Any:
        return fsspec.filesystem("s3" if self._protocol == "s3a" else self._protocol, use_listings_cache=False)

    def _spark_path(self, batch: str) -> str:
        scheme = {"file": "file", "s3": "s3a"}.get(self._protocol, self._protocol)
        return f"{scheme}://{self._path}/{batch}"

    def _exists(self) -> bool:
        return bool(self.committed_batches())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._path, "protocol": self._protocol, "table": self._table}
