"""What a run must know of a table that it has written: numbers that add up, found while the rows pass by.

They go with the table's mark, so that nobody reads a table again to count it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fruits_pipeline.schemas import arrow_schema

Summary = dict[str, int]
"""Numbers by name. Those of a whole are the sums of those of its parts, whichever parts and in whatever order."""


def summary_of(table: str, rows: pa.RecordBatch) -> Summary:
    """The summary of some rows of a table.

    Args:
        table: Its name in `fruits_pipeline.schemas`.
        rows: With the table's columns.

    Returns:
        `rows`, how many, and what the table has of its own: of `image_index`, `paths`, the sum of the paths' hashes; of
        `featurized_images`, how many have each `encoder/…` and `run_id/…`; of `image_status`, `paths`, how many have
        each `status/…` and `encoder/…`, `with_features`, and `digest`, which any change of the set of features changes
        (images, labels, encoder, or the run that made them); of `reduced_features`, how many have each `fit/…`, and the
        same `digest`.
    """
    return {"rows": len(rows), **_OWN.get(table, _nothing)(rows)}


def add_up(table: str, parts: Iterable[Summary]) -> Summary:
    """The summary of all parts of a table together; of none, that of no rows."""
    total = Counter(summary_of(table, pa.RecordBatch.from_pylist([], arrow_schema(table))))
    for part in parts:
        total.update(part)
    return dict(total)


def named(summary: Summary, kind: str) -> Summary:
    """The numbers `kind/name` of a summary, by name."""
    return {name.removeprefix(f"{kind}/"): n for name, n in summary.items() if name.startswith(f"{kind}/")}


def hash_of(*values: str | None) -> int:
    """A 64-bit hash of a row, to be summed: two different sets have the same sum with a probability of 2^-64."""
    content = "\0".join("" if value is None else value for value in values)
    return int.from_bytes(blake2b(content.encode(), digest_size=8).digest())


def _nothing(rows: pa.RecordBatch) -> Summary:
    return {}


def _of_index(rows: pa.RecordBatch) -> Summary:
    return {"paths": _hashes(rows, "path")}


def _of_features(rows: pa.RecordBatch) -> Summary:
    return {**_numbers(rows, "encoder"), **_numbers(rows, "run_id")}


def _of_status(rows: pa.RecordBatch) -> Summary:
    with_features = rows.filter(pc.is_null(rows["reason"]))
    return {
        "paths": _hashes(rows, "path"),
        **_numbers(rows, "status"),
        **_numbers(rows, "encoder"),
        "with_features": len(with_features),
        "digest": _hashes(with_features, "path", "label", "encoder", "run_id"),
    }


def _of_projection(rows: pa.RecordBatch) -> Summary:
    return {**_numbers(rows, "fit"), "digest": _hashes(rows, "path", "label", "encoder", "features_run_id")}


def _hashes(rows: pa.RecordBatch, *columns: str) -> int:
    return sum(hash_of(*row) for row in zip(*(rows[name].to_pylist() for name in columns), strict=True))


def _numbers(rows: pa.RecordBatch, column: str) -> Summary:
    return {f"{column}/{value}": n for value, n in Counter(rows[column].to_pylist()).items()}


_OWN: Final[dict[str, Callable[[pa.RecordBatch], Summary]]] = {
    "image_index": _of_index,
    "featurized_images": _of_features,
    "image_status": _of_status,
    "reduced_features": _of_projection,
}
