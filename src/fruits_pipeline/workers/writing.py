"""Tables whose rows are made in the workers and written there.

What `mapInArrow` returns to Spark goes through Java value by value, 1280 times for each image, and from there to
Parquet in the same way. Here a worker writes its rows itself, and Spark gets the names of the files. So do the tables
without features: with a single way to write, Spark's own need not be loaded, which takes it longer than small tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fruits_pipeline.errors import InputError
from fruits_pipeline.schemas import struct_of, struct_type
from fruits_pipeline.storage import publish, unfinished_file
from fruits_pipeline.workers.clock import StageClock, Sum
from fruits_pipeline.workers.contracts import CheckRows, RowFunction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BYTES_PER_GROUP: Final = 10 * 2**20
"""Size of a row group, of which a worker holds one in memory: 2,000 images with features, 100,000 of an index."""

FILES_SCHEMA: Final = pa.schema({"name": pa.string(), "n_rows": pa.int64()})
"""What a task says of the file that it has written."""


@dataclass(frozen=True)
class MappedRows:
    """The rows of a table that does not exist yet: a function of the workers, and what it is applied to.

    Attributes:
        source: What the function is applied to, task by task.
        function: Makes the rows.
        table: Name of the table's columns in `fruits_pipeline.schemas`.
        seconds: Accumulator of the seconds spent on writing, if anybody wants to know.
        if_empty: What to say where there are no rows at all; otherwise, a table may be empty.
    """

    source: DataFrame
    function: RowFunction
    table: str
    seconds: Sum | None = None
    if_empty: str | None = None

    @classmethod
    def of(cls, rows: DataFrame | MappedRows, table: str) -> MappedRows:
        """Rows that Spark has, for the workers to write; what is for the workers already stays as it is."""
        return rows if isinstance(rows, MappedRows) else cls(rows, as_they_are, table)

    def checked(self) -> MappedRows:
        """The same rows, which now must keep the table's contract, or writing them fails."""
        return replace(self, function=CheckRows(self.function, self.table))

    def to_dataframe(self) -> DataFrame:
        """The same rows for Spark."""
        return self.source.mapInArrow(self.function, struct_type(self.table))

    def write(self, folder: str, options: Mapping[str, Any]) -> dict[str, int]:
        """Writes the rows as Parquet, one file for each task that has any.

        A file is named after its task, and appears whole or not at all. So a task that Spark repeats, on the same input
        (Spark sorts rows before it deals them out), writes the same file again: a file is there once, however often and
        by whomever it was written.

        Args:
            folder: As Spark names it: `file:///…`, `s3a://…`.
            options: For `pyarrow.parquet.ParquetWriter`.

        Returns:
            Number of rows by the name of the file.

        Raises:
            InputError: If there are no rows, and there must be.
        """
        write = WriteRows(self.function, folder, dict(options), {"writing": self.seconds} if self.seconds else {})
        rows = self.source.mapInArrow(write, struct_of(FILES_SCHEMA)).collect()
        files = {row["name"]: row["n_rows"] for row in rows}
        if self.if_empty and not any(files.values()):
            raise InputError(self.if_empty)
        return files


def as_they_are(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The function of the workers that changes nothing."""
    yield from batches


@dataclass(frozen=True)
class WriteRows:
    """The function that `mapInArrow` sends to the workers: rows to files, and one row about each file.

    Attributes:
        function: Makes the rows.
        folder: Where the files go.
        options: For `pyarrow.parquet.ParquetWriter`.
        sums: Accumulator of the stage `writing`.
    """

    function: RowFunction
    folder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sums: Mapping[str, Sum] = field(default_factory=dict)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Writes the rows of one task; without any, there is no file."""
        clock = StageClock(self.sums)
        groups = _row_groups(self.function(batches))
        first = next(groups, None)
        if first is not None:
            name = f"part-{_task_number():05d}.parquet"
            n_rows = self._write(f"{self.folder}/{name}", first.schema, itertools.chain([first], groups), clock)
            yield pa.RecordBatch.from_pydict({"name": [name], "n_rows": [n_rows]})
        clock.hand_over()

    def _write(self, target: str, schema: pa.Schema, groups: Iterable[pa.Table], clock: StageClock) -> int:
        n_rows = 0
        with unfinished_file(target) as path:
            with path.open("wb") as file, pq.ParquetWriter(file, schema, **self.options) as parquet:
                for group in groups:
                    with clock("writing"):
                        parquet.write_table(group)
                    n_rows += len(group)
            with clock("writing"):
                publish(path, target)
        return n_rows


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
