"""The tables: their columns and types, for Spark and for Arrow.

What must be true of their rows stands in `fruits_pipeline.contracts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

N_FEATURES: Final = 1280
"""Length of MobileNetV2's pooled last activation, for every alpha ≤ 1 (Sandler et al. 2018, table 2)."""

STATUSES: Final = ("featurised", "quarantined", "unchanged")
"""What becomes of an image that is listed."""

_INDEX: Final = {"path": "string", "length": "bigint", "modification_time": "timestamp"}
_LABELED: Final = {**_INDEX, "label": "string"}

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


def struct_type(table: str) -> StructType:
    """The table's Spark schema, for tables that do not exist yet."""
    return struct_of(arrow_schema(table))


def struct_of(columns: Any) -> StructType:
    """The Spark schema of Arrow's columns.

    Not as SQL text, here and nowhere in this project: the first such text costs half a second of Spark's parser.

    Args:
        columns: A `pyarrow.Schema`.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(columns)


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
