"""Scaling and PCA the notebook's way, on features that are stored already: `reduction_notebook.py BATCH OUTPUT CORES`.

As in the notebook nothing is cached: each of the actions reads the features again.
"""

from __future__ import annotations

import sys

from common import Clock, report
from notebook_reduction import reduce_features, start_notebook_spark


def main(batch: str, output: str, cores: str) -> None:
    """Runs the job and prints its result."""
    clock = Clock()
    spark = start_notebook_spark(int(cores))
    features = spark.read.parquet(batch).select("path", "label", "features")
    n_rows = features.count()
    clock.lap("imports_session_count")
    found = reduce_features(features, n_rows, f"{output}/pca", clock)
    report(rows=n_rows, stages=clock.stages, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
