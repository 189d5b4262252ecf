"""The contracts of the tables: columns, types and the rules of their rows.

`conf/base/catalog.yml` names a contract under `validator:`; Kedro applies it whenever the table is saved. Columns are
checked at once. Rows are checked inside the very job that writes them, so that a contract costs no second pass over
the data and a broken row stops the write: in the workers, by the rules of `fruits_pipeline.workers.contracts`.

Kedro's validation runs it, but not Pandera: its checks of Spark tables are jobs of their own over rows that are not
computed yet, so every image would go through the network once more, and what they find does not stop the write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fruits_pipeline.errors import ContractError
from fruits_pipeline.schemas import COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fruits_pipeline.workers.writing import MappedRows


@dataclass(frozen=True)
class TableContract:
    """The contract of one table, as a Kedro dataset validator.

    Attributes:
        table: A key of `COLUMNS`.
    """

    table: str

    def validate(self, data: DataFrame | MappedRows) -> MappedRows:
        """Checks the columns now and the rows when they are written.

        Args:
            data: The table to be saved. Of rows that the workers make, the columns are checked there, too.

        Returns:
            The same rows, for the workers to write; writing tests each one and fails with the name of the rule and the
            path.

        Raises:
            ContractError: If columns are missing, unexpected or of another type.
        """
        from fruits_pipeline.workers.writing import MappedRows  # imports Arrow, which the command line can do without

        if not isinstance(data, MappedRows):
            self._check_columns(dict(data.dtypes))
        return MappedRows.of(data, self.table).checked()

    def _check_columns(self, found: dict[str, str]) -> None:
        expected = COLUMNS[self.table]
        if found == expected:
            return
        wrong = {name: kind for name, kind in found.items() if expected.get(name) != kind}
        missing = {name: kind for name, kind in expected.items() if found.get(name) != kind}
        raise ContractError(f"Table {self.table}: expected columns {missing}, found {wrong} instead.")
