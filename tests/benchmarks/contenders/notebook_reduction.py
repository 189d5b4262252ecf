"""The session of the original notebook and its second half, which needs no TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Clock
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from spark_session import start_spark

MOST_COMPONENTS = 160


def start_notebook_spark(cores: int) -> SparkSession:
    """The original's session."""
    settings = {
        "spark.sql.parquet.writeLegacyFormat": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1024",
    }
    return start_spark("notebook", cores, **settings)


def reduce_features(features: DataFrame, n_images: int, output: str, clock: Clock) -> dict[str, Any]:
    """The second half of the original: vectors, scaler, PCA of 160 components, PCA of k components, projection.

    Args:
        features: `path`, `label`, `features`, not cached.
        n_images: Rows of it.
        output: Folder of the projection.
        clock: Told of each stage.

    Returns:
        `components`, whether 160 components reached 95 %, and the seconds of it all.
    """
    before = sum(clock.stages.values())
    to_vector = F.udf(lambda values: Vectors.dense(values), VectorUDT())
    vectors = features.withColumn("vector", to_vector("features"))
    scaler = StandardScaler(inputCol="vector", outputCol="scaled", withMean=True, withStd=True)
    scaled = scaler.fit(vectors).transform(vectors)
    clock.lap("scaler_fit")
    most = PCA(k=min(MOST_COMPONENTS, n_images - 1), inputCol="scaled", outputCol="pca").fit(scaled)
    clock.lap("pca_160_fit")
    cumulated = np.cumsum(most.explainedVariance.toArray() * 100)
    k = int(np.argmax(cumulated >= 95) + 1)
    final = PCA(k=k, inputCol="scaled", outputCol="pca").fit(scaled)
    clock.lap("pca_k_fit")
    final.transform(scaled).select("path", "label", "pca").write.mode("overwrite").parquet(output)
    clock.lap("project_and_write")
    seconds = round(sum(clock.stages.values()) - before, 3)
    return {"components": k, "reached_95": bool(cumulated[-1] >= 95), "reduction_s": seconds}
