"""Sub-folders of a table, each written by one run, of which a reader sees the committed ones only."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedro.io import DatasetError
from kedro.io.core import get_protocol_and_path

from fruits_pipeline.datasets.files import open_store, write_whole
from fruits_pipeline.schemas import COLUMNS, struct_type
from fruits_pipeline.workers.summaries import Summary, add_up, summary_of
from fruits_pipeline.workers.writing import MappedRows

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

COMMITTED: Final = "_SUCCESS"
"""Hadoop's mark of a finished job (FileOutputCommitter.SUCCEEDED_FILE_NAME); a folder without it does not exist."""

_OPTIONS: Final = {"compression": "zstd", "write_page_checksum": True}
"""Of the Parquet files, where nobody named others. Without checksums a damaged page may be read as other numbers."""

_REPLACES: Final = "replaces"
_COMMITTED_AT: Final = "committed_at"
_SUMMARY: Final = "summary"


class CommittedFolders:
    """The folders `<key>=<run id>` of one table.

    A folder counts when `_SUCCESS` is in it, which is written last. A folder may replace others: their names then
    stand in its `_SUCCESS`, so that one write ends the old ones and begins the new one. The names of runs are times,
    and sort as such.
    """

    def __init__(self, filepath: str, key: str) -> None:
        """Touches nothing yet.

        Args:
            filepath: Folder of the table, local or s3://.
            key: What the folders' names begin with; Parquet readers show it as a partition column.
        """
        self.protocol, path = get_protocol_and_path(filepath)
        self.path = str(Path(path).resolve()) if self.protocol == "file" else path
        self.key = key

    def name_of(self, run_id: str) -> str:
        """The folder that a run writes."""
        return f"{self.key}={run_id}"

    def committed(self) -> list[str]:
        """Names of the folders that count, oldest first."""
        return list(self._committed_marks())

    def check_new(self, name: str) -> None:
        """Makes sure that a folder may be written.

        Raises:
            DatasetError: If it is committed already, or a later run's is: the clock of this machine is late.
        """
        newest = max(self._marks(), default="")
        if name == newest:
            raise DatasetError(f"{self.path}/{name} is already committed; what is committed is never rewritten.")
        if name < newest:
            raise DatasetError(
                f"{self.path} holds {newest}, which is later than this run, {name}: one of the two machines' clocks is "
                "wrong, and the newest row of an image counts. Set this machine's clock, then run again."
            )

    def write(self, name: str, rows: DataFrame | MappedRows, table: str, options: dict[str, Any]) -> Summary:
        """Writes the files of a folder, which does not count yet.

        Args:
            name: Of the folder.
            rows: That Spark has or that the workers make; the workers write them.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
            options: For `pyarrow.parquet.ParquetWriter`.

        Returns:
            What is in the files, for `commit`.

        Raises:
            DatasetError: If files that the workers have written are not there.
        """
        files = MappedRows.of(rows, table).write(self.spark_path(name), {**_OPTIONS, **options})
        self._keep_only(name, set(files))
        summary = add_up(table, files.values())
        if len(files) > 1:  # the others are the small tables, of which nobody wants a line each
            logger.info("%s: %d rows in %d files", table, summary["rows"], len(files))
        return summary

    def _keep_only(self, name: str, files: set[str]) -> None:
        """Removes what killed workers left unfinished, and makes sure that all finished files are there."""
        filesystem, folder = self._filesystem(), f"{self.path}/{name}"
        entries = filesystem.ls(folder, detail=False) if filesystem.isdir(folder) else []
        there = {entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries}
        if missing := files - there:
            raise DatasetError(
                f"{len(missing)} of {len(files)} files are not in {folder}, for example {min(missing)}: somebody "
                "removed them, or the workers write to another disk than this process. Let all machines share the "
                "output's folder, and run the same command again."
            )
        for stray in there - files:
            filesystem.rm_file(f"{folder}/{stray}")

    def commit(self, name: str, replaces: list[str], summary: Summary | None = None) -> None:
        """Makes a folder count whose files are all there, and those that it replaces no longer.

        It also names what these have replaced: whichever of them is removed first, nothing comes back.

        Args:
            name: Of the folder.
            replaces: Names of others.
            summary: What is in it, to be known without reading it.
        """
        marks = self._marks()
        earlier = [old for one in replaces for old in marks[one].get(_REPLACES, []) if old in marks]
        mark = {
            _REPLACES: sorted({*replaces, *earlier}),
            _COMMITTED_AT: datetime.now(UTC).isoformat(),
            _SUMMARY: summary or {},
        }
        write_whole(self._filesystem(), f"{self.path}/{name}/{COMMITTED}", json.dumps(mark).encode())

    def remove_dead(self) -> None:
        """Removes what runs left behind that died before they committed. Only who holds the output's lock may."""
        for name in set(self._folders()) - set(self._marks()):
            self.remove(name)

    def remove_replaced(self, older_than: timedelta) -> list[str]:
        """Removes the folders that were replaced at least so long ago, and says which."""
        ended, marks = datetime.now(UTC) - older_than, self._marks()
        names = {
            name
            for mark in marks.values()
            if _COMMITTED_AT in mark and datetime.fromisoformat(mark[_COMMITTED_AT]) <= ended
            for name in mark[_REPLACES]
            if name in marks
        }
        for name in sorted(names):
            self.remove(name)
        return sorted(names)

    def remove(self, name: str) -> None:
        """Removes a folder; the mark goes first, so that nobody reads half of it."""
        filesystem, folder = self._filesystem(), f"{self.path}/{name}"
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(f"{folder}/{COMMITTED}")
        with contextlib.suppress(FileNotFoundError):  # S3 has no folders: without files there is none
            filesystem.rm(folder, recursive=True)

    def read(self, names: list[str], table: str) -> DataFrame:
        """The rows of some folders; none if there are no folders.

        Args:
            names: Of the folders.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
        """
        from kedro_datasets._utils.spark_utils import get_spark_with_remote_support

        spark = get_spark_with_remote_support()
        if not names:
            empty: DataFrame = spark.range(0).to(struct_type(table))  # Spark sees that it is empty, and joins nothing
            return empty
        reader = spark.read.schema(struct_type(table)).option("__globPaths__", "false")
        rows: DataFrame = reader.parquet(*(self.spark_path(name) for name in names))
        return rows

    def read_here(self, names: list[str], table: str) -> MappedRows:
        """The rows of some folders, read by this process and batch by batch, for what needs no Spark.

        Args:
            names: Of the folders.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
        """
        return MappedRows(None, lambda _: self._batches(names, list(COLUMNS[table])), table)

    def _batches(self, names: list[str], columns: list[str]) -> Iterator[RecordBatch]:
        from pyarrow.parquet import ParquetFile

        filesystem = self._filesystem()
        paths = [path for name in names for path in sorted(filesystem.ls(f"{self.path}/{name}", detail=False))]
        for path in paths:
            if path.endswith(".parquet"):
                with filesystem.open(path, "rb") as file:
                    yield from ParquetFile(file).iter_batches(columns=columns)

    def summary(self, names: list[str], table: str) -> Summary:
        """What is in some folders: as their marks say, or, where older code wrote one, as its files say.

        Args:
            names: Of the folders.
            table: Name of the table's columns in `fruits_pipeline.schemas`.
        """
        marks = self._marks()
        return self._summary({name: marks[name] for name in names}, table)

    def summary_of_committed(self, table: str) -> Summary:
        """What is in all folders that count; each mark is read once, which in a bucket is a request."""
        return self._summary(self._committed_marks(), table)

    def _summary(self, marks: Mapping[str, Mapping[str, Any]], table: str) -> Summary:
        said = [mark[_SUMMARY] for mark in marks.values() if mark.get(_SUMMARY)]
        unsaid = [name for name, mark in marks.items() if not mark.get(_SUMMARY)]
        columns = [column for column, kind in COLUMNS[table].items() if not kind.startswith("array")]
        return add_up(table, [*said, *(summary_of(table, batch) for batch in self._batches(unsaid, columns))])

    def spark_path(self, name: str) -> str:
        """A folder's address for Spark."""
        scheme = {"file": "file", "s3": "s3a"}.get(self.protocol, self.protocol)
        return f"{scheme}://{self.path}/{name}"

    def _committed_marks(self) -> dict[str, Mapping[str, Any]]:
        """The marks of the folders that count, oldest first."""
        marks = self._marks()
        replaced = {name for mark in marks.values() for name in mark.get(_REPLACES, [])}
        return {name: mark for name, mark in marks.items() if name not in replaced}

    def _marks(self) -> dict[str, Mapping[str, Any]]:
        """The content of `_SUCCESS` by folder, oldest first; empty where Spark or another tool wrote it."""
        filesystem, marks = self._filesystem(), {}
        for name in self._folders():
            with contextlib.suppress(FileNotFoundError):
                marks[name] = _own_words(filesystem.cat_file(f"{self.path}/{name}/{COMMITTED}"))
        return marks

    def _folders(self) -> list[str]:
        filesystem = self._filesystem()
        if not filesystem.isdir(self.path):
            return []
        entries = filesystem.ls(self.path, detail=True)
        names = [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory"]
        return sorted(name for name in names if name.startswith(f"{self.key}="))

    def _filesystem(self) -> Any:
        return open_store(f"{self.protocol}://{self.path}")[0]


def _own_words(content: bytes) -> Mapping[str, Any]:
    """What `commit` wrote; nothing for the marks of Spark's committers, which are empty or tell their own story."""
    try:
        mark = json.loads(content or b"{}")
    except ValueError:
        return {}
    return mark if isinstance(mark, dict) and _REPLACES in mark else {}
