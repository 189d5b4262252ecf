"""The original notebook's job, rendered anew: `notebook.py IMAGES OUTPUT CORES WEIGHTS`.

What the original does is kept, and so is what it wastes: nothing is cached, so that each of five actions featurises
images again (about seven passes), every task rebuilds the network from broadcast weights, and PCA is fitted twice. So
is its fault: where 160 components do not reach 95 % of the variance, `argmax` finds nothing and one component is kept.
Nothing is slowed down. The original has no quarantine and no accounting.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import pandas as pd
from common import Clock, report
from keras.applications.mobilenet_v2 import MobileNetV2, preprocess_input
from keras.utils import img_to_array
from notebook_reduction import reduce_features, start_notebook_spark
from PIL import Image
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

INPUT_SHAPE = (224, 224, 3)
TASKS = 24
"""The original's `repartition(24)`."""


def build_headless() -> Any:
    """MobileNetV2 up to the layer before the classifier, frozen."""
    whole = MobileNetV2(weights=None, include_top=True, input_shape=INPUT_SHAPE)
    for layer in whole.layers:
        layer.trainable = False
    return keras.Model(whole.input, whole.layers[-2].output)


def load_weights(spec: str) -> list[np.ndarray]:
    """The arrays of a Keras file without top, or of a network initialised from `random:<seed>`."""
    if spec.startswith("random:"):
        keras.utils.set_random_seed(int(spec.removeprefix("random:")))
        return list(build_headless().get_weights())
    return list(MobileNetV2(weights=spec, include_top=False, input_shape=INPUT_SHAPE).get_weights())


def make_featurize_udf(weights: Any, counts: Path) -> Any:
    """The original's UDF. Its only addition is one short line per batch in a file: how many images it did.

    Args:
        weights: Broadcast weights.
        counts: Folder of the counters, one file per worker process.
    """

    def rebuild() -> Any:
        model = build_headless()
        model.set_weights(weights.value)
        return model

    def preprocess(content: bytes) -> Any:
        return preprocess_input(img_to_array(Image.open(io.BytesIO(content)).resize((224, 224))))

    def featurize(model: Any, contents: pd.Series) -> pd.Series:
        predictions = model.predict(np.stack(contents.map(preprocess).tolist()), verbose=0)
        with (counts / str(os.getpid())).open("a") as counter:
            counter.write(f"{len(predictions)}\n")
        return pd.Series([prediction.flatten() for prediction in predictions])

    def featurize_all(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        model = rebuild()
        for contents in batches:
            yield featurize(model, contents)

    featurize_all.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}
    return F.pandas_udf(featurize_all, "array<float>")


def list_images(spark: SparkSession, folder: str) -> DataFrame:
    """The images with their bytes and labels."""
    reader = spark.read.format("binaryFile").option("pathGlobFilter", "*.jpg").option("recursiveFileLookup", "true")
    return reader.load(folder).withColumn("label", F.element_at(F.split("path", "/"), -2))


def count_featurised(counts: Path) -> int:
    """Images that went through the network so far."""
    return sum(int(line) for file in counts.iterdir() for line in file.read_text().split())


def main(images_folder: str, output: str, cores: str, weights_spec: str) -> None:
    """Runs the whole job and prints its result."""
    clock = Clock()
    counts = Path(output) / "counts"
    counts.mkdir(parents=True)
    spark = start_notebook_spark(int(cores))
    weights = spark.sparkContext.broadcast(load_weights(weights_spec))
    clock.lap("imports_session_model")
    images = list_images(spark, images_folder)
    n_images = images.count()
    clock.lap("list_and_count")
    udf = make_featurize_udf(weights, counts)
    features = images.repartition(TASKS).select("path", "label", udf("content").alias("features"))
    features.write.mode("overwrite").parquet(f"{output}/features")
    clock.lap("featurize_and_write")
    found = reduce_features(features, n_images, f"{output}/pca", clock)
    featurised = count_featurised(counts)
    report(
        images=n_images,
        images_featurised=featurised,
        passes=round(featurised / n_images, 2),
        featurization_s=clock.stages["featurize_and_write"],
        stages=clock.stages,
        **found,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
