"""Finds the weights file that the parameters name. Imports no TensorFlow: a hash is enough to know the encoder."""

import os
import re
from importlib.resources import files
from pathlib import Path

import fsspec

from fruits_pipeline.encoders.card import EncoderWeights
from fruits_pipeline.errors import EncoderError

BUNDLED_FILE = "mobilenet_v2_0.35_fruits.weights.h5"
"""The small encoder that the project trained itself (docs/model_card.md)."""

CURE = "Use --params=encoder.weights=bundled, imagenet, random:<seed>, or the path of a Keras .h5 weights file."


def find_weights(spec: str, alpha: float) -> EncoderWeights:
    """Reads the weights that `spec` names.

    Args:
        spec: `bundled`, `imagenet`, `random:<seed>`, or the path of a Keras weights file, local or remote.
        alpha: Width multiplier; it names ImageNet's file.

    Returns:
        The weights; without content for `random:<seed>`, and for `imagenet` while Keras has not downloaded them.

    Raises:
        EncoderError: If there is no such file, or `spec` is malformed.
    """
    if spec.startswith("random:"):
        if not re.fullmatch(r"random:\d{1,9}", spec):
            raise EncoderError(f"encoder.weights={spec}: the seed must be a whole number, as in random:42.")
        return EncoderWeights(spec)
    if spec == "bundled":
        return EncoderWeights(spec, (files("fruits_pipeline.encoders") / "pretrained" / BUNDLED_FILE).read_bytes())
    if spec == "imagenet":
        return imagenet_weights(alpha)
    return EncoderWeights(spec, _read(spec))


def imagenet_weights(alpha: float) -> EncoderWeights:
    """ImageNet weights from Keras's download cache; without content when they are not there."""
    cached = keras_cache() / imagenet_file_name(alpha)
    return EncoderWeights("imagenet", cached.read_bytes() if cached.is_file() else None)


def keras_cache() -> Path:
    """Where Keras keeps downloaded weights (keras.utils.get_file with cache_subdir="models")."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def imagenet_file_name(alpha: float) -> str:
    """Name of Keras's own file (keras/src/applications/mobilenet_v2.py)."""
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_224_no_top.h5"


def _read(path: str) -> bytes:
    try:
        if "://" not in path:
            return Path(path).read_bytes()
        with fsspec.open(path, "rb") as file:
            content: bytes = file.read()
            return content
    except FileNotFoundError as error:
        raise EncoderError(f"There is no weights file at encoder.weights={path}. {CURE}") from error
    except Exception as error:  # each storage has errors of its own; botocore's are no OSError
        raise EncoderError(f"The weights file encoder.weights={path} cannot be read: {error}. {CURE}") from error
