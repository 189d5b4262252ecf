"""Runs an encoder: in the workers, once loaded per process, with as many threads as the task owns cores."""

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load

from fruits_pipeline.encoders.card import Encoder, EncoderCard

Network = Callable[[np.ndarray], np.ndarray]
"""(n, 224, 224, 3) uint8 pixels to (n, 1280) float32 features."""

_networks: dict[str, Network] = {}
_loads = 0

logger = logging.getLogger(__name__)


def network_of(card: EncoderCard, payload: Callable[[], bytes], threads: int) -> Network:
    """The network of an encoder, loaded at its first use in this process and kept for all later tasks.

    Args:
        card: Whose fingerprint is the key.
        payload: Called only if the network must be loaded: reading a broadcast value costs time and memory.
        threads: Cores that the task owns (`spark.task.cpus`).

    Returns:
        The network.
    """
    key = f"{card.fingerprint}/{threads}"
    if key not in _networks:
        _networks.clear()  # a reused worker that meets a second encoder does not need the first any more
        _networks[key] = open_network(Encoder(card, payload()), threads)
    return _networks[key]


def loads_in_this_process() -> int:
    """How many networks this process has loaded; tests assert that it stays 1 per worker."""
    return _loads


def open_network(encoder: Encoder, threads: int) -> Network:
    """Loads an encoder, without the cache.

    Args:
        encoder: Card and payload.
        threads: Threads for one call of the network.

    Returns:
        The network.
    """
    global _loads
    _loads += 1
    return _open_onnx(encoder, threads) if encoder.card.engine == "onnx" else _open_keras(encoder, threads)


def _open_onnx(encoder: Encoder, threads: int) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin take the core from the task beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(encoder.payload, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(pixels: np.ndarray) -> np.ndarray:
        features: np.ndarray = session.run(None, {name: pixels})[0]
        return features

    return run


def _open_keras(encoder: Encoder, threads: int) -> Network:
    """The reference path: each worker process builds the network in TensorFlow (seconds, and 2 GB of memory)."""
    from fruits_pipeline.encoders.keras_network import import_keras, rebuild_network

    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import_keras()
    _limit_tensorflow_threads(threads)
    arrays = load(encoder.payload)
    model = rebuild_network(encoder.card.alpha, [arrays[name] for name in sorted(arrays)])

    def run(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(model(pixels.astype(np.float32) / 127.5 - 1.0, training=False))

    return run


def _limit_tensorflow_threads(threads: int) -> None:
    import tensorflow as tf

    config: Any = tf.config.threading
    try:
        config.set_intra_op_parallelism_threads(threads)
        config.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow already runs in this process (the driver that has just built the network)
        logger.debug("TensorFlow keeps the threads it was started with")
