"""A Parquet table that grows by one batch per run, and of which a reader sees whole batches only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from kedro.io import AbstractDataset
from kedro.io.core import Version, generate_timestamp

from fruits_pipeline.datasets.committed_folders import CommittedFolders

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fruits_pipeline.workers.summaries import Summary
    from fruits_pipeline.workers.writing import MappedRows


class CommittedBatchesDataset(AbstractDataset[Any, Any]):
    """Loads and saves the batches of one table, as a Spark DataFrame or (`load_as: summary`) as what is known of it.

    A batch is a sub-folder `batch=<run_id>`. Saving writes a new one and never touches the others. Loading reads those
    that hold `_SUCCESS`, which is written last: what a dead run left behind is never read, and the next run that saves
    clears it. Other tools that read the whole folder see the batch as a partition column.

    With `replaces`, the new batch takes the place of all earlier ones at the moment of its commit. These stay on the
    disk for a while, for readers that have begun, and are removed by a later save.

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
        replaces: bool = False,
        load_as: Literal["spark", "summary"] = "spark",
        keep_replaced_hours: float = 24.0,
        save_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Keeps the settings; no session is started.

        Args:
            filepath: Folder of the table, local or s3://.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
            version: Kedro's version, whose `save` is the id of the run and names the batch.
            replaces: Whether a saved batch replaces all that are committed by then.
            load_as: What a node gets: rows, or what is in them as a whole (see `fruits_pipeline.workers.summaries`).
            keep_replaced_hours: How long replaced batches stay on the disk.
            save_args: Options for `pyarrow.parquet.ParquetWriter`.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._folders = CommittedFolders(filepath, "batch")
        self._table = table
        self._run_id = (version.save if version else None) or generate_timestamp()
        self._replaces = replaces
        self._load_as = load_as
        self._keep_replaced = timedelta(hours=keep_replaced_hours)
        self._save_args = save_args or {}
        self.metadata = metadata

    def load(self) -> DataFrame | Summary:
        """All rows of all committed batches; an empty table if there is none."""
        if self._load_as == "summary":
            return self._folders.summary_of_committed(self._table)
        return self._folders.read(self.committed_batches(), self._table)

    def save(self, data: DataFrame | MappedRows) -> None:
        """Writes one batch, named after the run.

        Args:
            data: Rows of the table, that Spark has or that the workers make.

        Raises:
            DatasetError: If this run, or a later one, has committed a batch already.
        """
        self._folders.check_new(self.batch)
        self._folders.remove_dead()
        replaced = self.committed_batches() if self._replaces else []
        summary = self._folders.write(self.batch, data, self._table, self._save_args)
        self._folders.commit(self.batch, replaced, summary)
        self._folders.remove_replaced(self._keep_replaced)

    @property
    def batch(self) -> str:
        """Folder name of the batch that `save` writes."""
        return self._folders.name_of(self._run_id)

    def committed_batches(self) -> list[str]:
        """Folder names of the committed batches, oldest first."""
        return self._folders.committed()

    def _exists(self) -> bool:
        return bool(self.committed_batches())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folders.path, "protocol": self._folders.protocol, "table": self._table}
