"""Tables whose rows are made in the workers and written there; the listing's, in this process.

What `mapInArrow` returns to Spark goes through Java value by value, 1280 times for each image, and from there to
Parquet in the same way. Here a worker writes its rows itself, and Spark gets the names of the files. So do the tables
without features: with a single way to write, Spark's own need not be loaded, which takes it longer than small tables.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fruits_pipeline.errors import ContractError, InputError
from fruits_pipeline.schemas import struct_of, struct_type
from fruits_pipeline.storage import publish, unfinished_file
from fruits_pipeline.workers.clock import StageClock, Sum
from fruits_pipeline.workers.contracts import CheckRows, RowFunction
from fruits_pipeline.workers.summaries import Summary, add_up, summary_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

BYTES_PER_GROUP: Final = 10 * 2**20
"""Size of a row group, of which a worker holds one in memory: 2,000 images with features, 100,000 of an index."""

TRIES: Final = 4
"""Attempts at the task that this process does itself: as many as Spark makes (spark.task.maxFailures)."""

FILES_SCHEMA: Final = pa.schema({"name": pa.string(), "summary": pa.string()})
"""What a task says of the file that it has written."""


@dataclass(frozen=True)
class MappedRows:
    """The rows of a table that does not exist yet: a function of the workers, and what it is applied to.

    Attributes:
        source: What the function is applied to, task by task; None for rows that are made of nothing, as a listing is.
            There is one task of these, and this process does it, for which Spark need not be up.
        function: Makes the rows.
        table: Name of the table's columns in `fruits_pipeline.schemas`.
        seconds: Accumulator of the seconds spent on writing, if anybody wants to know.
        if_empty: What to say where there are no rows at all; otherwise, a table may be empty.
        n_rows: How many rows there must be, where that is known.
    """

    source: DataFrame | None
    function: RowFunction
    table: str
    seconds: Sum | None = None
    if_empty: str | None = None
    n_rows: int | None = None

    @classmethod
    def of(cls, rows: DataFrame | MappedRows, table: str) -> MappedRows:
        """Rows that Spark has, for the workers to write; what is for the workers already stays as it is."""
        return rows if isinstance(rows, MappedRows) else cls(rows, as_they_are, table)

    def checked(self) -> MappedRows:
        """The same rows, which now must keep the table's contract, or writing them fails."""
        return replace(self, function=CheckRows(self.function, self.table))

    def to_dataframe(self) -> DataFrame:
        """The same rows for Spark."""
        source = _one_row() if self.source is None else self.source
        return source.mapInArrow(self.function, struct_type(self.table))

    def write(self, folder: str, options: Mapping[str, Any]) -> dict[str, Summary]:
        """Writes the rows as Parquet, one file for each task that has any.

        A file is named after its task, and appears whole or not at all. So a task that Spark repeats, on the same input
        (Spark sorts rows before it deals them out), writes the same file again: a file is there once, however often and
        by whomever it was written.

        Args:
            folder: As Spark names it: `file:///…`, `s3a://…`.
            options: For `pyarrow.parquet.ParquetWriter`.

        Returns:
            What is in each file (see `fruits_pipeline.workers.summaries`), by its name.

        Raises:
            InputError: If there are no rows, and there must be.
            ContractError: If there are more or fewer rows than there must be.
        """
        sums = {"writing": self.seconds} if self.seconds else {}
        write = WriteRows(self.function, folder, self.table, dict(options), sums)
        done = self.source.mapInArrow(write, struct_of(FILES_SCHEMA)).collect() if self.source else _done_here(write)
        files: dict[str, Summary] = {row["name"]: json.loads(row["summary"]) for row in done}
        n_rows = sum(file["rows"] for file in files.values())
        if self.if_empty and not n_rows:
            raise InputError(self.if_empty)
        if self.n_rows not in (None, n_rows):
            raise ContractError(
                f"Table {self.table}: {self.n_rows} rows were expected, {n_rows} were made. Nothing of it was "
                "committed. Run all pipelines (kedro run); if that does not mend it, do all again: "
                "--params=featurization.refresh=true."
            )
        return files


def _one_row() -> DataFrame:
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate().range(0, 1, numPartitions=1)


def _done_here(write: WriteRows) -> list[dict[str, Any]]:
    """What the one task says of its file. As Spark does, it tries again where a cause may pass."""
    for _ in range(TRIES - 1):
        try:
            return _said_by(write)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            logger.warning("A listing, or the table of it, failed and is done again: %s", error)
    return _said_by(write)


def _said_by(write: WriteRows) -> list[dict[str, Any]]:
    nothing = pa.RecordBatch.from_pydict({"id": [0]})
    return [row for batch in write([nothing]) for row in batch.to_pylist()]


def as_they_are(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The function of the workers that changes nothing."""
    yield from batches


@dataclass(frozen=True)
class WriteRows:
    """The function that `mapInArrow` sends to the workers: rows to files, and one row about each file.

    Attributes:
        function: Makes the rows.
        folder: Where the files go.
        table: Name of the table's columns in `fruits_pipeline.schemas`.
        options: For `pyarrow.parquet.ParquetWriter`.
        sums: Accumulator of the stage `writing`.
    """

    function: RowFunction
    folder: str
    table: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sums: Mapping[str, Sum] = field(default_factory=dict)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Writes the rows of one task; without any, there is no file."""
        clock = StageClock(self.sums)
        groups = _row_groups(self.function(batches))
        first = next(groups, None)
        if first is not None:
            name = f"part-{_task_number():05d}.parquet"
            summary = self._write(f"{self.folder}/{name}", first.schema, itertools.chain([first], groups), clock)
            yield pa.RecordBatch.from_pydict({"name": [name], "summary": [json.dumps(summary)]})
        clock.hand_over()

    def _write(self, target: str, schema: pa.Schema, groups: Iterable[pa.Table], clock: StageClock) -> Summary:
        parts = []
        with unfinished_file(target) as path:
            with path.open("wb") as file, pq.ParquetWriter(file, schema, **self.options) as parquet:
                for group in groups:
                    with clock("writing"):
                        parquet.write_table(group)
                    parts += [summary_of(self.table, batch) for batch in group.to_batches()]
            with clock("writing"):
                publish(path, target)
        return add_up(self.table, parts)


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches put together until they have `BYTES_PER_GROUP`."""
    group: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        group.append(batch)
        size += batch.nbytes
        if size >= BYTES_PER_GROUP:
            yield pa.Table.from_batches(group)
            group, size = [], 0
    if group:
        yield pa.Table.from_batches(group)


def _task_number() -> int:
    """Which of the stage's tasks this is: the same one if Spark repeats it."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.partitionId() if context else 0
