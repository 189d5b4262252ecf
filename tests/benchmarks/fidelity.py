"""Compares the features of two runs: `python tests/benchmarks/fidelity.py OUTPUT OTHER_OUTPUT`.

The first run is the reference (float32), the second one what is judged (bfloat16, another engine). Photographs are
matched by the last two parts of their paths; of photographs with the same bytes one is kept, because a copy would
always be its own nearest neighbour.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from fruits_pipeline.datasets.committed_folders import CommittedFolders

Figures = dict[str, float]

_BLOCK = 1024
"""Rows of one product of the search for neighbours."""


def read_features(output: Path) -> pd.DataFrame:
    """The current features of a run: committed batches only, and of each image the row that its status names.

    The same choice as `select_current_features` and `CommittedBatchesDataset`, without Spark.

    Args:
        output: Output folder of a `kedro run`.

    Returns:
        `label`, `sha256`, `features` by `<label>/<file>`, in this order.
    """
    table = output / "04_feature/featurized_images"
    batches = [table / name for name in CommittedFolders(str(table), "batch").committed()]
    if not batches:
        raise SystemExit(
            f"{output} has no committed features: there is no 04_feature/featurized_images/batch=*/_SUCCESS."
        )
    columns = ["path", "run_id", "encoder", "sha256", "features"]
    rows = pd.concat([_read(batch, columns) for batch in batches]).dropna(subset="features")
    version = max((output / "04_feature/image_status").glob("run=*/_SUCCESS")).parent
    status = _read(version, ["path", "run_id", "encoder", "label", "reason"])
    current = status[status["reason"].isna()].drop(columns="reason")
    return _by_name(rows.merge(current, on=["path", "run_id", "encoder"], validate="one_to_one"))


def read_plain_features(folder: Path) -> pd.DataFrame:
    """Features as the other contenders write them: `path` and `features`."""
    return _by_name(_read(folder, ["path", "features"]))


def _read(folder: Path, columns: list[str]) -> pd.DataFrame:
    files = [str(file) for file in folder.glob("*.parquet")]
    rows: pd.DataFrame = ds.dataset(files, format="parquet").to_table(columns=columns).to_pandas()
    return rows


def _by_name(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by the last two parts of their paths, sorted."""
    names = rows.pop("path").str.split("/").str[-2:].str.join("/")
    return rows.set_index(names.rename("name")).sort_index()


def matrix(rows: pd.DataFrame) -> np.ndarray:
    """(n, 1280) float32."""
    return np.stack(rows["features"].tolist()).astype(np.float32, copy=False)


def largest_difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Largest absolute difference of a feature over the images of both, which must be the same ones.

    Raises:
        ValueError: If they are not.
    """
    if not ours.index.equals(theirs.index):
        raise ValueError(f"the images differ: {list(ours.index.symmetric_difference(theirs.index))[:4]} …")
    return float(np.abs(matrix(ours) - matrix(theirs)).max(initial=0))


def compare(reference: pd.DataFrame, other: pd.DataFrame) -> Figures:
    """How far other features are from the reference, and whether they would answer the same.

    Args:
        reference: From `read_features`.
        other: The same images, encoded otherwise.

    Returns:
        `images`; `cosine_mean`, `cosine_worst` between both features of an image; `same_neighbour`, the share of images
        whose nearest other image (by cosine) is the same one; `label_reference` and `label_other`, the shares of images
        whose nearest other image has the right label (leave-one-out 1-NN accuracy).
    """
    distinct = reference[~reference["sha256"].duplicated()]
    names = distinct.index.intersection(other.index)
    labels = reference.loc[names, "label"].to_numpy()
    a, b = _unit(matrix(reference.loc[names])), _unit(matrix(other.loc[names]))
    cosines = np.einsum("ij,ij->i", a, b)
    nearest_a, nearest_b = nearest(a), nearest(b)
    return {
        "images": len(names),
        "cosine_mean": float(cosines.mean()),
        "cosine_worst": float(cosines.min()),
        "same_neighbour": float((nearest_a == nearest_b).mean()),
        "label_reference": float((labels[nearest_a] == labels).mean()),
        "label_other": float((labels[nearest_b] == labels).mean()),
    }


def _unit(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)


def nearest(units: np.ndarray) -> np.ndarray:
    """Row of the nearest other image: (n, d) of unit length to (n,) int."""
    found = []
    for start in range(0, len(units), _BLOCK):
        likeness = units[start : start + _BLOCK] @ units.T
        likeness[np.arange(len(likeness)), np.arange(start, start + len(likeness))] = -np.inf
        found.append(likeness.argmax(axis=1))
    return np.concatenate(found)


def table(figures: Figures) -> str:
    """The figures as a Markdown table."""
    lines = [
        ("photographs", f"{figures['images']:,.0f}"),
        ("cosine to the reference, mean", f"{figures['cosine_mean']:.5f}"),
        ("cosine to the reference, worst", f"{figures['cosine_worst']:.5f}"),
        ("nearest neighbour is the same photograph", f"{figures['same_neighbour']:.1%}"),
        ("nearest neighbour has the right label", f"{figures['label_other']:.1%}"),
        ("… in the reference", f"{figures['label_reference']:.1%}"),
    ]
    return "\n".join(["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in lines)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of two runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, metavar="OUTPUT", help="output folder of the reference run")
    parser.add_argument("other", type=Path, metavar="OTHER_OUTPUT", help="output folder of the run that is judged")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args(arguments)
    figures = compare(read_features(asked.reference), read_features(asked.other))
    print(json.dumps(figures) if asked.json else table(figures))


if __name__ == "__main__":
    main()
