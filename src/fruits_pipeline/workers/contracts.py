"""The rules of all tables, checked in the workers, on Arrow batches, before a row is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_pipeline.errors import ContractError
from fruits_pipeline.images import REASONS
from fruits_pipeline.schemas import N_FEATURES, STATUSES, arrow_schema

RowFunction = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
"""What `mapInArrow` takes: a function of all batches of a task."""


class RowRule(NamedTuple):
    """What must be true of a row.

    Attributes:
        column: Whose values the rule is about.
        holds: From a batch to one boolean per row; null counts as false.
    """

    column: str
    holds: Callable[[pa.RecordBatch], pa.Array]


def _has_length_of_file(rows: pa.RecordBatch) -> pa.Array:
    return pc.greater_equal(rows["length"], 0)


def _has_time(rows: pa.RecordBatch) -> pa.Array:
    return rows["modification_time"].is_valid()


def _has_known_status(rows: pa.RecordBatch) -> pa.Array:
    return pc.is_in(rows["status"], pa.array(STATUSES))


def _has_label(rows: pa.RecordBatch) -> pa.Array:
    return pc.not_equal(rows["label"], "")


def _has_features_or_reason(rows: pa.RecordBatch) -> pa.Array:
    return pc.xor(rows["features"].is_null(), rows["reason"].is_null())


def _has_known_reason(rows: pa.RecordBatch) -> pa.Array:
    return pc.or_(rows["reason"].is_null(), pc.is_in(rows["reason"], pa.array(REASONS)))


def _has_all_features(rows: pa.RecordBatch) -> pa.Array:
    features = rows["features"]
    is_whole = pc.and_(pc.equal(pc.list_value_length(features), N_FEATURES), _all_hold(features, pc.is_valid))
    return pc.or_kleene(features.is_null(), is_whole)


def _has_features_in_range(rows: pa.RecordBatch) -> pa.Array:
    def in_range(values: pa.Array) -> pa.Array:  # false for NaN
        return pc.and_(pc.greater_equal(values, 0), pc.less_equal(values, 6))

    return pc.or_kleene(rows["features"].is_null(), _all_hold(rows["features"], in_range))


def _has_sha256_if_read(rows: pa.RecordBatch) -> pa.Array:
    was_not_read = pc.is_in(rows["reason"], pa.array(["vanished", "unreadable"]))
    return pc.or_kleene(was_not_read, _has_length(rows["sha256"], 64))


def _has_encoder_and_run(rows: pa.RecordBatch) -> pa.Array:
    return pc.and_kleene(_has_length(rows["encoder"], 16), rows["run_id"].is_valid())


def _has_origin(rows: pa.RecordBatch) -> pa.Array:
    named = [_has_length(rows[name], length) for name, length in (("sha256", 64), ("encoder", 16), ("fit", 16))]
    named += [rows[name].is_valid() for name in ("features_run_id", "run_id")]
    both = named[0]
    for one in named[1:]:
        both = pc.and_kleene(both, one)
    return both


def _has_finite_projection(rows: pa.RecordBatch) -> pa.Array:
    return pc.and_kleene(rows["pca_features"].is_valid(), _all_hold(rows["pca_features"], pc.is_finite))


def _has_length(texts: pa.Array, length: int) -> pa.Array:
    return pc.equal(pc.utf8_length(texts), length)


def _all_hold(lists: pa.Array, condition: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Whether all values of each list fulfil a condition, for which null is not good enough; null for null."""
    good = pc.fill_null(condition(lists.flatten()), fill_value=False).to_numpy(zero_copy_only=False)
    lists_of_good = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)[good]
    return pc.equal(pc.list_value_length(lists), pa.array(np.bincount(lists_of_good, minlength=len(lists))))


_KNOWN_FILE: Final = {
    "length is known": RowRule("length", _has_length_of_file),
    "modification time is known": RowRule("modification_time", _has_time),
}
_HAS_LABEL: Final = {"label is the name of a folder": RowRule("label", _has_label)}

ROW_RULES: Final[dict[str, dict[str, RowRule]]] = {
    "image_index": _KNOWN_FILE,
    "labeled_images": {**_KNOWN_FILE, **_HAS_LABEL},
    "featurized_images": {
        **_HAS_LABEL,
        "either features or a reason": RowRule("features", _has_features_or_reason),
        "reason is a known code": RowRule("reason", _has_known_reason),
        f"{N_FEATURES} features": RowRule("features", _has_all_features),
        "features are finite and within ReLU6's 0 ... 6": RowRule("features", _has_features_in_range),
        "sha256 where bytes were read": RowRule("sha256", _has_sha256_if_read),
        "encoder and run are named": RowRule("encoder", _has_encoder_and_run),
    },
    "image_status": {"status is known": RowRule("status", _has_known_status)},
    "reduced_features": {
        **_HAS_LABEL,
        "origin is named": RowRule("fit", _has_origin),
        "pca_features are finite": RowRule("pca_features", _has_finite_projection),
    },
}
"""The rules of every table that is written: what must be true → the rule."""


@dataclass(frozen=True)
class CheckRows:
    """A function of the workers whose rows must fulfil the contract of a table.

    Attributes:
        function: Makes the rows.
        table: A key of `ROW_RULES`.
    """

    function: RowFunction
    table: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The function's batches, with columns of exactly the contract's types.

        Raises:
            ContractError: If columns are missing, unexpected or of another type, or a rule is broken; then with the
                rule and the path.
        """
        for batch in self.function(batches):
            rows = self._with_columns(batch)
            self._check(rows)
            yield rows

    def _with_columns(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        schema = arrow_schema(self.table)
        found = ", ".join(f"{field.name}: {field.type}" for field in rows.schema)
        if set(rows.schema.names) != set(schema.names):
            raise ContractError(f"Table {self.table}: expected columns {', '.join(schema.names)}, found {found}.")
        try:
            return rows.select(schema.names).cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ContractError(f"Table {self.table}: {error} (columns: {found}).") from error

    def _check(self, rows: pa.RecordBatch) -> None:
        self._refuse_first(rows, "path", "it is null", rows["path"].is_valid())
        for name, rule in ROW_RULES[self.table].items():
            self._refuse_first(rows, rule.column, f"not true that {name}", rule.holds(rows))

    def _refuse_first(self, rows: pa.RecordBatch, column: str, what: str, holds: pa.Array) -> None:
        """Raises an error about the first row of which it is not true."""
        first = pc.index(pc.fill_null(holds, fill_value=False), value=False).as_py()
        if first >= 0:
            path: Any = rows["path"][first].as_py()
            of = f": {path}" if path is not None else ""
            raise ContractError(
                f"A contract is broken: table {self.table}, column {column}: {what}{of}. "
                "Nothing of this table was committed."
            )
