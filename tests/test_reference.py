"""Real photographs and ImageNet weights: the features are Keras's.

Skipped on machines without ../shared.
"""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from fruits_pipeline.encoders.card import Encoder
from fruits_pipeline.encoders.export import export_encoder
from fruits_pipeline.encoders.keras_network import import_keras
from fruits_pipeline.encoders.weights import find_weights, imagenet_file_name
from fruits_pipeline.parameters import EncoderParameters
from fruits_pipeline.workers.featurization import FeaturizeTask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # TensorFlow and tf2onnx warn of their own futures
]

SIZES = {"batch_size": 1, "read_ahead": 0, "max_pixels": 89478485}


def encoder(shared, alpha: float) -> Encoder:
    path = str(shared / "weights" / imagenet_file_name(alpha))
    parameters = EncoderParameters(name="MobileNetV2", alpha=alpha, weights=path, engine="onnx", precision="float32")
    return export_encoder(parameters, find_weights(path, alpha))


def featurize(encoder: Encoder, paths: list) -> pd.DataFrame:
    """What a Spark worker makes of these files."""
    rows = [
        {"path": f"file:{path}", "length": 1, "modification_time": None, "label": path.parent.name} for path in paths
    ]
    task = FeaturizeTask(encoder.card, SimpleNamespace(value=encoder.payload), "run", 1, **SIZES)
    return pa.Table.from_batches(task([pa.RecordBatch.from_pylist(rows)])).to_pandas()


def plain_pixels(path) -> np.ndarray:
    """An independent rendering of the preprocessing, as one would write it for a single picture."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes())))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    resized = image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.float32) / 127.5 - 1.0


@pytest.fixture(scope="module")
def photographs(shared) -> list:
    kinds = sorted((shared / "images" / "fruits-360").iterdir())
    chosen = [path for kind in kinds for path in sorted(kind.iterdir())[::20]]
    return chosen + sorted((shared / "images" / "awkward").iterdir())


@pytest.mark.parametrize("alpha", [1.0, 0.35])
def test_features_are_those_of_plain_keras(shared, photographs, alpha):
    rows = featurize(encoder(shared, alpha), photographs)
    assert rows["reason"].isna().all()
    features = np.stack(rows["features"])
    model = import_keras().applications.MobileNetV2(
        input_shape=(224, 224, 3),
        alpha=alpha,
        include_top=False,
        pooling="avg",
        weights=str(shared / "weights" / imagenet_file_name(alpha)),
    )
    expected = np.asarray(model(np.stack([plain_pixels(path) for path in photographs]), training=False))
    assert np.abs(features - expected).max() <= 1e-3
    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((features * expected).sum(axis=1) / norms).min() >= 0.99999
