"""Named arrays in one safetensors file."""

from __future__ import annotations

from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from safetensors.numpy import load, save

from fruits_pipeline.datasets.files import open_store, write_whole


class ArraysDataset(AbstractDataset[dict[str, np.ndarray], dict[str, np.ndarray]]):
    """Loads and saves a dictionary of NumPy arrays, local or on S3.

    kedro_datasets_experimental's SafetensorsDataset hands safetensors the name of a local file, so it cannot save to
    S3 (9.6: "'S3File' object has no attribute 'name'").

    ```yaml
    scaler:
      type: fruits_pipeline.datasets.ArraysDataset
      filepath: data/06_models/scaler.safetensors
    ```
    """

    def __init__(self, *, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            filepath: The file, local or s3://.
            optional: Whether a file that is not there holds no arrays, instead of being an error.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._filepath = filepath
        self._optional = optional
        self.metadata = metadata

    def load(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        fs, path = open_store(self._filepath)
        return {} if self._optional and not fs.exists(path) else load(fs.cat_file(path))

    def save(self, data: dict[str, np.ndarray]) -> None:
        """Writes all arrays, whole or not at all."""
        fs, path = open_store(self._filepath)
        write_whole(fs, path, save(data))

    def _exists(self) -> bool:
        fs, path = open_store(self._filepath)
        return bool(fs.exists(path))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
