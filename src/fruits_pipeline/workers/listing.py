"""The listing of a folder, as rows of `raw_images`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from fruits_pipeline.listing import list_files
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers.clock import StageClock, Sum


@dataclass(frozen=True)
class ListFolder:
    """The function that `mapInArrow` sends to a worker: one input row, as many output rows as there are files.

    Attributes:
        root: The folder, as `fruits_pipeline.listing.list_files` takes it.
        sums: Accumulator for the stage `listing`.
    """

    root: str
    sums: Mapping[str, Sum] = field(default_factory=dict)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Lists the folder, one page after another."""
        schema = arrow_schema("raw_images")
        clock = StageClock(self.sums)
        for _ in batches:
            for page in clock.each("listing", list_files(self.root)):
                columns = [pa.array([getattr(file, part.name) for file in page], part.type) for part in schema]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        clock.hand_over()
