"""The report of every run, kept for good, one small file each."""

from __future__ import annotations

import json
from typing import Any

from kedro.io import AbstractDataset

from fruits_pipeline.datasets.files import open_store, write_whole


class RunReportsDataset(AbstractDataset[dict[str, Any], list[dict[str, Any]]]):
    """Saves the report of one run as `<run_id>.json`, and loads those of all runs.

    Kedro-datasets' PartitionedDataset does not write a file whole or not at all, refuses an empty folder, and reads one
    file after another.

    ```yaml
    kept_reports:
      type: fruits_pipeline.datasets.RunReportsDataset
      filepath: data/08_reporting/runs
    ```
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            filepath: The folder, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> list[dict[str, Any]]:
        """All reports, oldest run first; none if there is no folder."""
        fs, path = open_store(self._filepath)
        if not fs.isdir(path):
            return []
        names = sorted(name for name in fs.ls(path, detail=False) if name.endswith(".json"))
        # At once, where the filesystem can do that; `cat` would take names with brackets for patterns.
        contents = fs.cat_ranges(names, None, None, on_error="raise")
        return [json.loads(content) for content in contents]

    def save(self, data: dict[str, Any]) -> None:
        """Writes one report, whole or not at all, in the place of an earlier one of the same run.

        Args:
            data: A report with a `run_id`.
        """
        fs, path = open_store(self._filepath)
        content = json.dumps(data, indent=2, ensure_ascii=False).encode()
        write_whole(fs, f"{path.rstrip('/')}/{data['run_id']}.json", content)

    def _exists(self) -> bool:
        fs, path = open_store(self._filepath)
        return bool(fs.isdir(path))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
