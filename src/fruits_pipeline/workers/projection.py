"""The projection of features on the components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from fruits_pipeline.workers.arrays import feature_matrix, list_array

if TYPE_CHECKING:
    from pyspark import Broadcast


@dataclass(frozen=True)
class Project:
    """The function of the workers that makes `reduced_features`.

    Attributes:
        arrays: `mean` (1280,), `scale` (1280,) and `components` (k, 1280), float64, broadcast.
    """

    arrays: Broadcast[tuple[np.ndarray, np.ndarray, np.ndarray]]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Puts `pca_features` in the place of `features`, the last column; the others stay as they are."""
        mean, scale, components = self.arrays.value
        with threadpool_limits(1):  # one task, one core
            for batch in batches:
                standardised = (feature_matrix(batch.column("features")) - mean) / scale
                lists = list_array(standardised @ components.T, np.zeros(len(batch), bool))
                names = batch.schema.names[:-1]
                columns = [*(batch.column(name) for name in names), lists]
                yield pa.RecordBatch.from_arrays(columns, names=[*names, "pca_features"])
