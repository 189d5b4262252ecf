"""Scaling and PCA with MLlib as one would write it: `reduction_mllib.py BATCH OUTPUT CORES`.

Vectors are made in the JVM and kept, and PCA is fitted once.
"""

from __future__ import annotations

import sys

import numpy as np
from common import Clock, report
from pyspark import StorageLevel
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F
from spark_session import start_spark

COMPONENTS = 160


def main(batch: str, output: str, cores: str) -> None:
    """Runs the job and prints its result."""
    clock = Clock()
    spark = start_spark("mllib", int(cores))
    clock.lap("imports_session")
    stored = spark.read.parquet(batch)
    vectors = stored.select("path", "label", array_to_vector(F.col("features")).alias("vector"))
    vectors = vectors.persist(StorageLevel.MEMORY_AND_DISK)
    scaler = StandardScaler(inputCol="vector", outputCol="scaled", withMean=True, withStd=True).fit(vectors)
    scaled = scaler.transform(vectors)
    clock.lap("scaler_fit")
    pca = PCA(k=COMPONENTS, inputCol="scaled", outputCol="pca").fit(scaled)
    clock.lap("pca_fit")
    pca.transform(scaled).select("path", "label", "pca").write.mode("overwrite").parquet(f"{output}/pca")
    clock.lap("project_and_write")
    n_rows = vectors.count()
    seconds = sum(clock.stages.values()) - clock.stages["imports_session"]
    reached = float(np.sum(pca.explainedVariance.toArray()))
    report(rows=n_rows, reduction_s=round(seconds, 3), stages=clock.stages, variance_reached=round(reached, 4))


if __name__ == "__main__":
    main(*sys.argv[1:])
