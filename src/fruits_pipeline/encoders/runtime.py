"""Runs an encoder: in the workers, once loaded per process, with as many threads as the task owns cores."""

import logging
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load

from fruits_pipeline.encoders.card import IMAGES_PER_CALL, Encoder, EncoderCard
from fruits_pipeline.errors import EncoderError
from fruits_pipeline.images import SIZE, scaled

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
    if encoder.card.engine == "tensorflow":
        return _open_keras(encoder, threads)
    return (_open_openvino if encoder.card.precision == "bfloat16" else _open_onnx)(encoder, threads)


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


def _open_openvino(encoder: Encoder, threads: int) -> Network:
    """The same ONNX file in bfloat16, which ONNX Runtime does not have on x86.

    Compiled for four images: compiled for any number, the network takes a third longer for one; compiled for one, each
    image takes a tenth longer (4.4 against 4.0 ms, two processes on two cores); eight leave the cache of a core.

    Raises:
        EncoderError: If OpenVINO is not installed, or this CPU does not multiply in bfloat16: emulated, it would be
            slow and give yet other features.
    """
    openvino = _import_openvino()
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EncoderError(
            f"The CPU of {platform.node()} has no bfloat16 arithmetic (AVX-512-BF16 or AMX; EC2's 7th generation has "
            "it). Run with --params=encoder.precision=float32."
        )
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # pinned, the workers of one machine share its first core
    }
    count = IMAGES_PER_CALL["bfloat16"]
    model = core.read_model(encoder.payload)
    model.reshape([count, SIZE, SIZE, 3])
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(pixels: np.ndarray) -> np.ndarray:
        groups = [pixels[i : i + count] for i in range(0, len(pixels), count)]
        results = (request.infer({0: _filled(group, count)}, share_inputs=True)[0][: len(group)] for group in groups)
        return np.concatenate([result.copy() for result in results])  # the next result is written to the same memory

    return run


def _filled(images: np.ndarray, count: int) -> np.ndarray:
    """The images, from the first again until there are `count`."""
    return images if len(images) == count else np.resize(images, (count, *images.shape[1:]))


def _import_openvino() -> Any:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # OpenVINO does without it
    try:
        import openvino
    except ImportError as error:
        raise EncoderError(
            "encoder.precision=bfloat16 needs OpenVINO: pip install 'fruits_pipeline[bfloat16]', or run with "
            "--params=encoder.precision=float32."
        ) from error
    return openvino


def _open_keras(encoder: Encoder, threads: int) -> Network:
    """The reference path: each worker process builds the network in TensorFlow (seconds, and 2 GB of memory)."""
    from fruits_pipeline.encoders.keras_network import import_keras, rebuild_network

    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import_keras()
    _limit_tensorflow_threads(threads)
    arrays = load(encoder.payload)
    model = rebuild_network(encoder.card.alpha, [arrays[name] for name in sorted(arrays)])

    def run(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(model(scaled(pixels.astype(np.float32)), training=False))

    return run


def _limit_tensorflow_threads(threads: int) -> None:
    import tensorflow as tf

    config: Any = tf.config.threading
    try:
        config.set_intra_op_parallelism_threads(threads)
        config.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow already runs in this process (the driver that has just built the network)
        logger.debug("TensorFlow keeps the threads it was started with")
