"""The contracts of the tables: columns, types and the rules of their rows.

`conf/base/catalog.yml` names a contract under `validator:`; Kedro applies it whenever the table is saved. Columns are
checked at once. Rows are checked inside the very job that writes them, so that a contract costs no second pass over
the data and a broken row stops the write.

Kedro's validation runs it, but not Pandera: its checks of Spark tables are jobs of their own over rows that are not
computed yet, so every image would go through the network once more, and what they find does not stop the write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fruits_pipeline.errors import ContractError
from fruits_pipeline.images import REASONS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

N_FEATURES: Final = 1280
"""Length of MobileNetV2's pooled last activation, for every alpha ≤ 1 (Sandler et al. 2018, table 2)."""

_INDEX: Final = {"path": "string", "length": "bigint", "modification_time": "timestamp"}
_LABELED: Final = {**_INDEX, "label": "string"}
_REASONS_SQL: Final = ", ".join(f"'{reason}'" for reason in REASONS)


class Rule(NamedTuple):
    """What must be true of a row.

    Attributes:
        column: Whose values the rule is about.
        condition: Spark SQL; null counts as false.
    """

    column: str
    condition: str


_KNOWN_FILE: Final = {
    "length is known": Rule("length", "length >= 0"),
    "modification time is known": Rule("modification_time", "modification_time is not null"),
}
_HAS_LABEL: Final = {"label is the name of a folder": Rule("label", "label is not null and label != ''")}

COLUMNS: Final[dict[str, dict[str, str]]] = {
    "raw_images": {**_INDEX, "hidden": "boolean"},
    "image_index": _INDEX,
    "labeled_images": _LABELED,
    "featurized_images": {
        **_LABELED,
        "sha256": "string",
        "width": "int",
        "height": "int",
        "mode": "string",
        "features": "array<float>",
        "reason": "string",
        "detail": "string",
        "judged_by": "string",
        "encoder": "string",
        "run_id": "string",
    },
    "image_status": {
        **_LABELED,
        "status": "string",
        "reason": "string",
        "detail": "string",
        "encoder": "string",
        "run_id": "string",
    },
    "reduced_features": {
        "path": "string",
        "label": "string",
        "sha256": "string",
        "encoder": "string",
        "features_run_id": "string",
        "fit": "string",
        "run_id": "string",
        "pca_features": "array<double>",
    },
}
"""Column names and Spark types of every table, in order."""

# About arrays: `array_contains` is null where it finds nothing and one of the elements is null, so `not array_contains`
# holds only without nulls. Spark compiles these loops; `exists` and `forall` with a lambda are interpreted, and cost a
# second per 10,000 images.
RULES: Final[dict[str, dict[str, Rule]]] = {
    "image_index": _KNOWN_FILE,
    "labeled_images": {**_KNOWN_FILE, **_HAS_LABEL},
    "featurized_images": {
        **_HAS_LABEL,
        "either features or a reason": Rule("features", "(features is null) != (reason is null)"),
        "reason is a known code": Rule("reason", f"reason is null or reason in ({_REASONS_SQL})"),
        f"{N_FEATURES} features": Rule(
            "features",
            f"features is null or (size(features) = {N_FEATURES} and not array_contains(features, float('nan')))",
        ),
        # array_min/array_max order NaN above every number, so NaN and infinity break the upper bound too.
        "features are finite and within ReLU6's 0 ... 6": Rule(
            "features", "features is null or (array_min(features) >= 0 and array_max(features) <= 6)"
        ),
        "sha256 where bytes were read": Rule("sha256", "reason in ('vanished', 'unreadable') or length(sha256) = 64"),
        "encoder and run are named": Rule("encoder", "length(encoder) = 16 and run_id is not null"),
    },
    "image_status": {"status is known": Rule("status", "status in ('featurised', 'quarantined', 'unchanged')")},
    "reduced_features": {
        **_HAS_LABEL,
        "origin is named": Rule(
            "fit",
            "length(sha256) = 64 and length(encoder) = 16 and length(fit) = 16 "
            "and features_run_id is not null and run_id is not null",
        ),
        "pca_features are finite": Rule(
            "pca_features",
            "size(pca_features) = 0 or (not array_contains(pca_features, double('nan')) "
            "and array_min(pca_features) > double('-inf') and array_max(pca_features) < double('inf'))",
        ),
    },
}
"""The rules of every table: what must be true → the rule."""


@dataclass(frozen=True)
class TableContract:
    """The contract of one table, as a Kedro dataset validator.

    Attributes:
        table: A key of `COLUMNS`.
    """

    table: str

    def validate(self, data: DataFrame) -> DataFrame:
        """Checks the columns now and the rows when they are written.

        Args:
            data: The table to be saved.

        Returns:
            The same rows; the plan also tests each one and fails with the name of the rule and the path.

        Raises:
            ContractError: If columns are missing, unexpected or of another type.
        """
        self._check_columns(dict(data.dtypes))
        return data.select(*COLUMNS[self.table]).selectExpr(f"{self._guarded_path()} as path", *self._other_columns())

    def _other_columns(self) -> list[str]:
        return [name for name in COLUMNS[self.table] if name != "path"]

    def _check_columns(self, found: dict[str, str]) -> None:
        expected = COLUMNS[self.table]
        if found == expected:
            return
        wrong = {name: kind for name, kind in found.items() if expected.get(name) != kind}
        missing = {name: kind for name, kind in expected.items() if found.get(name) != kind}
        raise ContractError(f"Table {self.table}: expected columns {missing}, found {wrong} instead.")

    def _guarded_path(self) -> str:
        """SQL for the path column, or Spark's error where a rule is broken."""
        cases = [f"when path is null then raise_error({_quoted(f'table {self.table}, column path: it is null')})"]
        for name, rule in RULES[self.table].items():
            where = f"table {self.table}, column {rule.column}: not true that {name}: "
            cases.append(f"when not coalesce({rule.condition}, false) then raise_error(concat({_quoted(where)}, path))")
        return f"cast(case {' '.join(cases)} else path end as string)"


def _quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def struct_type(table: str) -> Any:
    """The table's Spark schema, for tables that do not exist yet."""
    return ", ".join(f"`{name}` {kind}" for name, kind in COLUMNS[table].items())


def arrow_schema(table: str) -> Any:
    """The table's columns as the workers send them, a `pyarrow.Schema`."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "bigint": pa.int64(),
        "int": pa.int32(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "array<float>": pa.list_(pa.float32()),
        "array<double>": pa.list_(pa.float64()),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS[table].items()])
