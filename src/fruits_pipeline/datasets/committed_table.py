"""A Parquet table that each run writes anew, and of which a reader sees the old or the new rows, never both or half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from kedro.io import AbstractDataset
from kedro.io.core import Version, generate_timestamp

from fruits_pipeline.datasets.committed_folders import CommittedFolders
from fruits_pipeline.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fruits_pipeline.workers.summaries import Summary
    from fruits_pipeline.workers.writing import MappedRows


class CommittedTableDataset(AbstractDataset[Any, Any]):
    """Loads the newest committed version of a table, and saves another.

    It loads as a Spark DataFrame (`load_as: spark`), as rows that this process reads, for nodes that need no Spark
    (`arrow`), or as what is known of it as a whole, without reading it (`summary`, see
    `fruits_pipeline.workers.summaries`). The catalog has these under one name and several endings, as
    `image_index@arrow`: https://docs.kedro.org/en/stable/catalog-data/data_catalog_yaml_examples/, transcoding.

    A version is a sub-folder `run=<run_id>`. It exists when `_SUCCESS` is in it, which is written last; from then on
    it is what readers get, and older versions are removed. A run that dies before leaves the old version as it was.
    `kedro run --load-versions=NAME:RUN_ID` reads another version that is still there.

    ```yaml
    reduced_features:
      type: fruits_pipeline.datasets.CommittedTableDataset
      filepath: data/05_model_input/reduced_features
      table: reduced_features
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
        keep: int = 1,
        optional: bool = False,
        load_as: Literal["spark", "arrow", "summary"] = "spark",
        save_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Keeps the settings; no session is started.

        Args:
            filepath: Folder of the table, local or s3://.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
            version: Kedro's version: `save` is the id of the run, `load` a version other than the newest.
            keep: How many versions stay after a save. With more than one, readers have until the next run to finish
                what they have begun, and tools that read the whole folder see rows of several runs.
            optional: Whether a table that does not exist yet is empty, instead of an error.
            load_as: What a node gets.
            save_args: Options for `pyarrow.parquet.ParquetWriter`.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._folders = CommittedFolders(filepath, "run")
        self._table = table
        self._load_version = version.load if version else None
        self._run_id = (version.save if version else None) or generate_timestamp()
        self._keep = keep
        self._optional = optional
        self._load_as = load_as
        self._save_args = save_args or {}
        self.metadata = metadata

    def load(self) -> DataFrame | MappedRows | Summary:
        """One version; of a table that does not exist and need not, no rows or an empty summary.

        Raises:
            InputError: If there is none.
        """
        version = self._version_to_load()
        names = [version] if version else []
        if self._load_as == "summary":
            return self._folders.summary(names, self._table) if names else {}
        return (self._folders.read_here if self._load_as == "arrow" else self._folders.read)(names, self._table)

    def _version_to_load(self) -> str | None:
        committed = self._folders.committed()
        wanted = self._folders.name_of(self._load_version) if self._load_version else max(committed, default=None)
        if wanted in committed or (wanted is None and self._optional):
            return wanted
        what = f"has no version {self._load_version}" if self._load_version else "does not exist"
        raise InputError(
            f"The table {self._folders.path} {what}. Run the pipelines that write it first (kedro run), or name other "
            "folders with --params=images=DIR,output=DIR."
        )

    def save(self, data: DataFrame | MappedRows) -> None:
        """Writes a new version, named after the run, and removes old ones.

        Args:
            data: Rows of the table, that Spark has or that the workers make.

        Raises:
            DatasetError: If this run, or a later one, has committed a version already.
        """
        version = self._folders.name_of(self._run_id)
        self._folders.check_new(version)
        self._folders.remove_dead()
        summary = self._folders.write(version, data, self._table, self._save_args)
        self._folders.commit(version, replaces=[], summary=summary)
        for old in self._folders.committed()[: -self._keep]:
            self._folders.remove(old)

    def _exists(self) -> bool:
        return bool(self._folders.committed())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folders.path, "protocol": self._folders.protocol, "table": self._table}
