"""Makes a portable encoder of a Keras network: ONNX with the input scaling folded in, or bare weights."""

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
from safetensors.numpy import save

from fruits_pipeline.encoders.card import ARITHMETIC, Encoder, EncoderCard, EncoderWeights
from fruits_pipeline.encoders.keras_network import INPUT_SHAPE, build_network, import_keras
from fruits_pipeline.encoders.runtime import open_network
from fruits_pipeline.errors import EncoderError
from fruits_pipeline.images import scaled
from fruits_pipeline.parameters import EncoderParameters

logger = logging.getLogger(__name__)

OPSET = 17
TOLERANCE = {"float32": 1e-3, "bfloat16": math.inf}
"""Largest difference from Keras that an export may show; float32 gives about 1e-5 on features of 0 … 6."""

LEAST_COSINE = {"float32": 0.99999, "bfloat16": 0.9}
"""Least cosine with Keras's features on noise and flat images, the hardest there are: bfloat16, with 8 bits of
mantissa, gives 0.948 with ImageNet weights there, and 0.978 on the worst of 1,150 photographs."""


def export_encoder(parameters: EncoderParameters, weights: EncoderWeights) -> Encoder:
    """Builds the network in Keras, exports it, and checks the export against Keras.

    Args:
        parameters: Name, alpha and engine.
        weights: As `find_weights` found them.

    Returns:
        The encoder, ready for broadcast.

    Raises:
        EncoderError: If the network cannot be built, or the export gives other features than Keras.
    """
    logger.info("Exporting the encoder: %s alpha %g, weights %s", parameters.name, parameters.alpha, weights.spec)
    model, weights, sha256 = build_network(parameters, weights)
    payload = _to_onnx(model, parameters.precision) if parameters.engine == "onnx" else _to_safetensors(model)
    precision = parameters.precision
    card = EncoderCard(
        parameters.name,
        parameters.alpha,
        parameters.engine,
        weights.spec,
        sha256,
        precision=precision,
        arithmetic=ARITHMETIC[precision],
    )
    difference = _difference(model, Encoder(card, payload))
    return Encoder(replace(card, exported_with=_versions(difference)), payload)


def _to_onnx(model: Any, precision: str) -> bytes:
    """ONNX of uint8 pixels to features, divided as is fastest for the runtime of that precision."""
    from fruits_pipeline.encoders.onnx_graph import FRONT, front_by_image

    if precision == "bfloat16":  # OpenVINO compiles the whole network for the images of one call
        network = _converted(model)
    else:
        seam = model.get_layer(FRONT).output
        network = front_by_image(_converted(import_keras().Model(model.input, [seam, model.output])))
    return bytes(network.SerializeToString())


def _converted(model: Any) -> Any:
    """The network as ONNX: x / 127.5 - 1 is part of the graph, batch norm is folded by tf2onnx."""
    import tensorflow as tf
    import tf2onnx

    for name in ("tf2onnx", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)

    def encode(pixels: Any) -> Any:
        return model(scaled(tf.cast(pixels, tf.float32)), training=False)

    signature = [tf.TensorSpec((None, *INPUT_SHAPE), tf.uint8, name="pixels")]
    function = tf.function(encode, input_signature=signature)
    network, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return network


def _to_safetensors(model: Any) -> bytes:
    """The weights in Keras's order, for workers that rebuild the network themselves."""
    return save({f"{i:04d}": np.ascontiguousarray(array) for i, array in enumerate(model.get_weights())})


def _difference(model: Any, encoder: Encoder) -> float:
    """Largest difference between Keras and the exported encoder on noise and on flat images.

    Raises:
        EncoderError: If it is too large, or a feature vector points elsewhere (which also finds faults in networks
            whose features are tiny).
    """
    pixels = _test_images()
    expected = np.asarray(model(scaled(pixels.astype(np.float32)), training=False), np.float64)
    found = open_network(encoder, threads=1)(pixels).astype(np.float64)
    difference = float(np.abs(found - expected).max())
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float(
        np.min((found * expected).sum(axis=1) / np.where(norms > 0, norms, 1.0), where=norms > 0, initial=1.0)
    )
    precision = encoder.card.precision
    if not (difference <= TOLERANCE[precision] and cosine >= LEAST_COSINE[precision]):
        raise EncoderError(
            f"The exported encoder differs from Keras by {difference:.2g} (allowed: {TOLERANCE[precision]:g}; cosine "
            f"{cosine:.6f}, at least {LEAST_COSINE[precision]:g}). Run with --params=encoder.engine=tensorflow,"
            "encoder.precision=float32, and please report the versions of tensorflow, onnxruntime and openvino."
        )
    return difference


def _test_images() -> np.ndarray:
    """(5, 224, 224, 3) uint8: noise, black and white."""
    noise = np.random.default_rng(0).integers(0, 256, (3, *INPUT_SHAPE), dtype=np.uint8)
    flat = np.stack([np.full(INPUT_SHAPE, value, np.uint8) for value in (0, 255)])
    return np.concatenate([noise, flat])


def _versions(difference: float) -> dict[str, Any]:
    from importlib.metadata import version

    packages = ("tensorflow", "keras", "tf2onnx", "onnxruntime")
    return {**{name: version(name) for name in packages}, "difference_from_keras": difference}
