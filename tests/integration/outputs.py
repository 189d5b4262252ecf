"""What a reader finds in an output folder, without Spark and without the project's datasets' `load`."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fruits_pipeline.datasets.committed_folders import CommittedFolders

TABLES = {
    "image_index": "02_intermediate",
    "labeled_images": "03_primary",
    "image_status": "04_feature",
    "reduced_features": "05_model_input",
}


def read(output: Path, table: str) -> pd.DataFrame | None:
    """The rows that count of one table; None if there are none yet."""
    layer, key = ("04_feature", "batch") if table == "featurized_images" else (TABLES[table], "run")
    folders = CommittedFolders(str(output / layer / table), key)
    names = folders.committed() if key == "batch" else folders.committed()[-1:]
    if not names:
        return None
    parts = [pq.ParquetFile(file).read() for name in names for file in (Path(folders.path) / name).glob("*.parquet")]
    return pd.concat([part.to_pandas() for part in parts], ignore_index=True)


def report(output: Path) -> dict:
    return json.loads((output / "08_reporting" / "run_report.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Result:
    """What two runs must agree on."""

    status: pd.DataFrame
    features: pd.DataFrame
    reduced: pd.DataFrame
    counts: dict[str, int]
    n_components: int


def result(output: Path) -> Result:
    """The current rows of all tables, by path."""
    status = read(output, "image_status").set_index("path").sort_index()
    rows = read(output, "featurized_images").set_index(["path", "run_id", "encoder"])
    current = status[status["reason"].isna()].set_index(["run_id", "encoder"], append=True).index
    features = rows.loc[current, ["sha256", "features"]].reset_index(["run_id", "encoder"], drop=True).sort_index()
    counts = {name: report(output)["counts"][name] for name in ("listed", "in_quarantine", "with_features")}
    reduced = read(output, "reduced_features").set_index("path").sort_index()
    return Result(status, features, reduced, counts, report(output)["pca"]["n_components"])


def assert_same(found: Result, expected: Result) -> None:
    """The same images, labels, reasons, features to the bit, components, and projections up to rounding."""
    assert found.counts == expected.counts
    assert found.n_components == expected.n_components
    columns = ["label", "length", "reason", "encoder"]
    pd.testing.assert_frame_equal(found.status[columns], expected.status[columns])
    assert list(found.features.index) == list(expected.features.index)
    assert list(found.features["sha256"]) == list(expected.features["sha256"])
    np.testing.assert_array_equal(np.stack(found.features["features"]), np.stack(expected.features["features"]))
    names = ["label", "sha256", "encoder"]
    pd.testing.assert_frame_equal(found.reduced[names], expected.reduced[names])
    projections = [np.stack(one.reduced["pca_features"]) for one in (found, expected)]
    np.testing.assert_allclose(*projections, rtol=0, atol=1e-9 * np.abs(projections[1]).max())
