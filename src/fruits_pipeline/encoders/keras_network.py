"""Builds the network in Keras. TensorFlow is imported inside the functions, and only where an encoder is made."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fruits_pipeline.encoders.card import EncoderWeights
from fruits_pipeline.encoders.weights import CURE, imagenet_file_name, imagenet_weights, keras_cache
from fruits_pipeline.errors import EncoderError
from fruits_pipeline.images import SIZE
from fruits_pipeline.parameters import EncoderParameters

logger = logging.getLogger(__name__)

INPUT_SHAPE = (SIZE, SIZE, 3)


def import_keras() -> Any:
    """Imports Keras on TensorFlow, quietly.

    Raises:
        EncoderError: If TensorFlow is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the network is exported here, not trained
    try:
        with _silent_start():
            import keras
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")
            tf.constant(0)
        return keras
    except ImportError as error:
        raise EncoderError(
            "TensorFlow is needed once, to export the encoder, and is not installed here. Install it with "
            "pip install 'fruits_pipeline[tensorflow]', or copy an exported encoder into "
            "<output>/06_models/encoders from a machine that has it."
        ) from error


@contextlib.contextmanager
def _silent_start() -> Iterator[None]:
    """Keeps TensorFlow's C++ start-up chatter off the terminal; it comes before any log level is heeded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def build_network(parameters: EncoderParameters, weights: EncoderWeights) -> tuple[Any, EncoderWeights, str]:
    """Builds MobileNetV2 without its top, average-pooled: (n, 224, 224, 3) in -1 … 1 to (n, 1280) features.

    Args:
        parameters: Name and alpha.
        weights: As `find_weights` found them.

    Returns:
        The Keras model, the weights (with content, if Keras just downloaded them), and their SHA-256.

    Raises:
        EncoderError: If TensorFlow is missing, the weights do not fit, or a download fails.
    """
    keras = import_keras()
    if weights.seed is not None:
        keras.utils.set_random_seed(weights.seed)
        model = _headless(keras, parameters.alpha)
        return model, weights, hash_arrays(model.get_weights())
    if weights.content is None:
        weights = _download_imagenet(keras, parameters.alpha)
    model = _load(keras, parameters, weights)
    return model, weights, str(weights.sha256)


def rebuild_network(alpha: float, arrays: list[np.ndarray]) -> Any:
    """Builds the network in a worker from broadcast weights (engine `tensorflow`)."""
    model = _headless(import_keras(), alpha)
    model.set_weights(arrays)
    return model


def hash_arrays(arrays: list[np.ndarray]) -> str:
    """SHA-256 over the bytes of float32 arrays, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _headless(keras: Any, alpha: float) -> Any:
    return keras.applications.MobileNetV2(
        input_shape=INPUT_SHAPE, alpha=alpha, include_top=False, weights=None, pooling="avg"
    )


def _download_imagenet(keras: Any, alpha: float) -> EncoderWeights:
    """Lets Keras download ImageNet weights into its cache."""
    try:
        keras.applications.MobileNetV2(
            input_shape=INPUT_SHAPE, alpha=alpha, include_top=False, weights="imagenet", pooling="avg"
        )
    except Exception as error:
        raise EncoderError(
            f"The ImageNet weights of MobileNetV2 alpha {alpha:g} are not on this machine and could not be "
            f"downloaded ({_first_line(error)}). Get {imagenet_file_name(alpha)} on a machine with internet and "
            f"put it into {keras_cache()}, or name the file: --params=encoder.weights=/path/to/file.h5."
        ) from error
    return imagenet_weights(alpha)


def _load(keras: Any, parameters: EncoderParameters, weights: EncoderWeights) -> Any:
    try:
        with _as_file(weights.content or b"") as (path, n_classes):
            if n_classes is None:
                model = _headless(keras, parameters.alpha)
                model.load_weights(path)
                return model
            full = keras.applications.MobileNetV2(
                input_shape=INPUT_SHAPE, alpha=parameters.alpha, weights=None, classes=n_classes
            )
            full.load_weights(path)
            return keras.Model(full.input, full.layers[-2].output)
    except Exception as error:
        raise EncoderError(
            f"encoder.weights={weights.spec} does not hold weights of {parameters.name} with encoder.alpha="
            f"{parameters.alpha:g} ({_first_line(error)}). Set encoder.alpha to the file's own. {CURE}"
        ) from error


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[tuple[Path, int | None]]:
    """Writes weights where Keras can read them, under the name that tells it which of its two formats they have.

    Yields:
        The file, and the number of classes if it is in Keras's older format and holds the classifier too.
    """
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.h5"
        path.write_bytes(content)
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            layers = [str(name) for name in group.attrs.get("layer_names", [])]
            n_classes = _classes(group[layers[-1]]) if layers else None
        if not layers:
            path = path.rename(path.with_name("network.weights.h5"))
        yield path, n_classes


def _classes(group: Any) -> int | None:
    """Number of classes of the last layer in an older weights file, if that layer is the classifier."""
    shapes: list[tuple[int, ...]] = []
    group.visititems(lambda _, item: shapes.append(item.shape) if hasattr(item, "shape") else None)
    kernels = [shape for shape in shapes if len(shape) == 2]
    return kernels[0][1] if kernels else None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
