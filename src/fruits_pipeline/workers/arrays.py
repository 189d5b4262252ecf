"""Arrow list columns and NumPy matrices, without copies."""

import numpy as np
import pyarrow as pa

from fruits_pipeline.schemas import N_FEATURES


def feature_matrix(column: pa.ListArray) -> np.ndarray:
    """The (n, 1280) float32 matrix of a `list<float>` column without nulls; a view, not a copy."""
    matrix: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), N_FEATURES)
    return matrix


def list_array(rows: np.ndarray, is_null: np.ndarray | list[bool]) -> pa.Array:
    """An Arrow list column of the rows of a matrix, with nulls in between.

    Args:
        rows: (n, d), the rows that are not null, in order; float32 or float64.
        is_null: One entry per row of the column; n of them are False.

    Returns:
        `list<float>` or `list<double>` with as many entries as `is_null`.
    """
    lengths = np.where(is_null, 0, rows.shape[1])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    values = pa.array(np.ascontiguousarray(rows).reshape(-1))
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array(is_null, pa.bool_()))
