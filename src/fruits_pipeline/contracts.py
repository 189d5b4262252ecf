"""The contracts of the tables: columns, types and the rules of their rows.

`conf/base/catalog.yml` names a contract under `validator:`; Kedro applies it whenever the table is saved. Columns are
checked at once. Rows are checked inside the very job that writes them, so that a contract costs no second pass over
the data and a broken row stops the write: in Spark, or, of the tables that the workers write, in the workers.

Kedro's validation runs it, but not Pandera: its checks of Spark tables are jobs of their own over rows that are not
computed yet, so every image would go through the network once more, and what they find does not stop the write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from fruits_pipeline.errors import ContractError
from fruits_pipeline.schemas import COLUMNS, STATUSES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from fruits_pipeline.workers.writing import MappedRows

WRITTEN_BY_WORKERS: Final = frozenset({"featurized_images", "reduced_features"})
"""The tables with an array in each row; their rules are in `fruits_pipeline.workers.contracts`."""


class Rule(NamedTuple):
    """What must be true of a row.

    Attributes:
        column: Whose values the rule is about.
        holds: Makes the condition, as only a running Spark can; null counts as false.
    """

    column: str
    holds: Callable[[], Column]


_KNOWN_FILE: Final = {
    "length is known": Rule("length", lambda: F.col("length") >= 0),
    "modification time is known": Rule("modification_time", lambda: F.col("modification_time").isNotNull()),
}
_HAS_LABEL: Final = {"label is the name of a folder": Rule("label", lambda: F.col("label") != "")}

RULES: Final[dict[str, dict[str, Rule]]] = {
    "image_index": _KNOWN_FILE,
    "labeled_images": {**_KNOWN_FILE, **_HAS_LABEL},
    "image_status": {"status is known": Rule("status", lambda: F.col("status").isin(*STATUSES))},
}
"""The rules of every table that Spark writes: what must be true → the rule."""


@dataclass(frozen=True)
class TableContract:
    """The contract of one table, as a Kedro dataset validator.

    Attributes:
        table: A key of `COLUMNS`.
    """

    table: str

    def validate(self, data: DataFrame | MappedRows) -> DataFrame | MappedRows:
        """Checks the columns now and the rows when they are written.

        Args:
            data: The table to be saved. Rows that the workers make are checked there, columns and all.

        Returns:
            The same rows, for Spark to write or for the workers; writing tests each one and fails with the name of the
            rule and the path.

        Raises:
            ContractError: If columns are missing, unexpected or of another type.
        """
        from fruits_pipeline.workers.writing import MappedRows  # imports Arrow, which the command line can do without

        if not isinstance(data, MappedRows):
            self._check_columns(dict(data.dtypes))
            if self.table not in WRITTEN_BY_WORKERS:
                return self._checked_by_spark(data)
            data = MappedRows.of(data, self.table)
        return data.checked()

    def _checked_by_spark(self, data: DataFrame) -> DataFrame:
        others = [name for name in COLUMNS[self.table] if name != "path"]
        return data.select(self._guarded_path(), *others)

    def _check_columns(self, found: dict[str, str]) -> None:
        expected = COLUMNS[self.table]
        if found == expected:
            return
        wrong = {name: kind for name, kind in found.items() if expected.get(name) != kind}
        missing = {name: kind for name, kind in expected.items() if found.get(name) != kind}
        raise ContractError(f"Table {self.table}: expected columns {missing}, found {wrong} instead.")

    def _guarded_path(self) -> Column:
        """The path column, or Spark's error where a rule is broken."""
        path = F.col("path")
        guarded = F.when(path.isNull(), F.raise_error(F.lit(f"table {self.table}, column path: it is null")))
        for name, rule in RULES[self.table].items():
            where = F.lit(f"table {self.table}, column {rule.column}: not true that {name}: ")
            is_broken = ~F.coalesce(rule.holds(), F.lit(False))
            guarded = guarded.when(is_broken, F.raise_error(F.concat(where, path)))
        return guarded.otherwise(path).cast(StringType()).alias("path")
