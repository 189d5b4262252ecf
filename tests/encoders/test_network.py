"""The exported network gives Keras's features; weights come in several shapes."""

import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from fruits_pipeline.encoders import runtime
from fruits_pipeline.encoders.card import Encoder, EncoderCard, EncoderWeights
from fruits_pipeline.encoders.export import _converted, _to_onnx, export_encoder
from fruits_pipeline.encoders.keras_network import build_network, import_keras
from fruits_pipeline.encoders.weights import find_weights
from fruits_pipeline.errors import EncoderError
from fruits_pipeline.parameters import EncoderParameters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # TensorFlow and tf2onnx warn of their own futures
]


def parameters(weights: str = "bundled", engine: str = "onnx", alpha: float = 0.35) -> EncoderParameters:
    return EncoderParameters(name="MobileNetV2", alpha=alpha, weights=weights, engine=engine, precision="float32")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def reference(pixels) -> np.ndarray:
    """Features of the bundled weights by plain Keras."""
    model, _, _ = build_network(parameters(), find_weights("bundled", 0.35))
    return np.asarray(model(pixels.astype(np.float32) / 127.5 - 1.0, training=False))


@pytest.mark.parametrize("engine", ["onnx", "tensorflow"])
def test_exported_features_are_those_of_keras(engine, pixels, reference):
    encoder = export_encoder(parameters(engine=engine), find_weights("bundled", 0.35))
    features = runtime.open_network(encoder, threads=1)(pixels)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, reference, atol=1e-4)
    assert reference.std() > 0.01
    one_by_one = np.concatenate([runtime.open_network(encoder, threads=2)(pixels[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(one_by_one, features, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.35, 0.5])
def test_features_are_those_of_the_undivided_network_however_many_images_a_call_takes(alpha, pixels):
    """The network in two parts is the same one, to the last bit: features made before it was divided are still good."""
    model, _, _ = build_network(parameters("random:1", alpha=alpha), find_weights("random:1", alpha))
    model.set_weights([weights * 2 if weights.ndim == 4 else weights for weights in model.get_weights()])
    card = EncoderCard("MobileNetV2", alpha, "onnx", "random:1", "0" * 64)
    whole = runtime.open_network(Encoder(card, _converted(model).SerializeToString()), threads=1)
    divided = runtime.open_network(Encoder(card, _to_onnx(model, "float32")), threads=1)
    expected = np.concatenate([whole(pixels[i : i + 1]) for i in range(3)])
    assert len(np.unique(expected)) > 1000
    for count in (1, 2, 3, 7):
        several = np.resize(pixels, (count, *pixels.shape[1:]))
        np.testing.assert_array_equal(divided(several), np.resize(expected, (count, 1280)))


def test_the_first_layers_take_one_image_and_the_others_all():
    """What the features cannot show, but the time does."""
    network = onnx.load_from_string(export_encoder(parameters(), find_weights("bundled", 0.35)).payload)
    scan, *back = network.graph.node
    (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
    convolutions = [sum(node.op_type == "Conv" for node in nodes) for nodes in (body.node, back)]
    assert scan.op_type == "Scan"
    assert convolutions == [18, 34]  # 3 to a block, 2 in the first; one before them, one after them
    assert [dim.dim_value for dim in body.input[0].type.tensor_type.shape.dim] == [224, 224, 3]
    assert network.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_bfloat16_is_close_and_an_encoder_of_its_own(pixels, reference):
    """Skipped on CPUs without bfloat16, where it is refused."""
    asked = parameters().model_copy(update={"precision": "bfloat16"})
    try:
        encoder = export_encoder(asked, find_weights("bundled", 0.35))
    except EncoderError as error:
        if "no bfloat16 arithmetic" not in str(error):
            raise
        pytest.skip(str(error))
    network = runtime.open_network(encoder, threads=1)
    features, again = network(pixels), network(pixels[::-1])[::-1]
    np.testing.assert_array_equal(features, again)
    for count in range(1, 9):  # alone, beside others, and in every place of a call
        several = np.resize(pixels, (count, *pixels.shape[1:]))
        np.testing.assert_array_equal(network(several), np.resize(features, (count, features.shape[1])))
    cosine = (features * reference).sum(axis=1) / np.linalg.norm(features, axis=1) / np.linalg.norm(reference, axis=1)
    assert 0.9 < cosine.min() < cosine.max() < 0.99999  # in float32 it would be nearer
    assert 0 <= features.min() <= features.max() <= 6
    assert encoder.card.fingerprint != export_encoder(parameters(), find_weights("bundled", 0.35)).card.fingerprint
    assert not any(name.startswith("openvino_telemetry.") for name in sys.modules)


def test_bfloat16_is_refused_on_other_cpus(monkeypatch):
    class Core:
        def get_property(self, *_):
            return ["FP32", "INT8"]

    monkeypatch.setattr(runtime, "_import_openvino", lambda: SimpleNamespace(Core=Core))
    card = EncoderCard("MobileNetV2", 0.35, "onnx", "bundled", "0" * 64, precision="bfloat16")
    with pytest.raises(EncoderError, match=r"no bfloat16 arithmetic.*encoder\.precision=float32"):
        runtime.open_network(Encoder(card, b""), threads=1)


def test_bfloat16_without_openvino_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    card = EncoderCard("MobileNetV2", 0.35, "onnx", "bundled", "0" * 64, precision="bfloat16")
    with pytest.raises(EncoderError, match=r"fruits_pipeline\[bfloat16\]"):
        runtime.open_network(Encoder(card, b""), threads=1)


def test_random_weights_are_those_of_the_seed():
    sums = [export_encoder(parameters(f"random:{seed}"), find_weights(f"random:{seed}", 0.35)) for seed in (1, 1, 2)]
    first, again, other = (encoder.card.fingerprint for encoder in sums)
    assert first == again != other


@pytest.mark.parametrize(("name", "top"), [("w.weights.h5", False), ("w.weights.h5", True), ("full.h5", True)])
def test_weights_files_with_and_without_top(name, top, pixels, tmp_path):
    keras = import_keras()
    keras.utils.set_random_seed(3)
    kind = {"include_top": True, "classes": 7} if top else {"include_top": False, "pooling": "avg"}
    model = keras.applications.MobileNetV2(input_shape=(224, 224, 3), alpha=0.35, weights=None, **kind)
    path = tmp_path / name
    model.save(path) if name == "full.h5" else model.save_weights(path)
    headless = keras.Model(model.input, model.layers[-2].output) if top else model
    expected = np.asarray(headless(pixels.astype(np.float32) / 127.5 - 1.0, training=False))
    found, _, sha256 = build_network(parameters(str(path)), find_weights(str(path), 0.35))
    features = np.asarray(found(pixels.astype(np.float32) / 127.5 - 1.0, training=False))
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert len(sha256) == 64


def test_weights_of_another_alpha_are_refused():
    with pytest.raises(EncoderError, match=r"does not hold weights of MobileNetV2 with encoder.alpha=0.5"):
        build_network(parameters(alpha=0.5), find_weights("bundled", 0.35))


def test_a_file_that_is_no_weights_file_is_refused():
    with pytest.raises(EncoderError, match=r"does not hold weights"):
        build_network(parameters("x.h5"), EncoderWeights("x.h5", b"nothing of the kind"))


def test_a_wrong_export_is_found_out(monkeypatch):
    honest = runtime.open_network

    def wrong(encoder, threads):
        network = honest(encoder, threads)
        return lambda pixels: network(pixels[:, ::-1])

    monkeypatch.setattr("fruits_pipeline.encoders.export.open_network", wrong)
    with pytest.raises(EncoderError, match="differs from Keras"):
        export_encoder(parameters(), find_weights("bundled", 0.35))


def test_one_load_per_process_and_encoder(pixels):
    encoder = export_encoder(parameters(), find_weights("bundled", 0.35))
    runtime._networks.clear()
    before = runtime.loads_in_this_process()
    for _ in range(3):
        runtime.network_of(encoder.card, lambda: encoder.payload, threads=1)(pixels)
    assert runtime.loads_in_this_process() == before + 1


def test_real_imagenet_weights(shared, pixels):
    """The reference weights load as they are; their features are Keras's own."""
    path = shared / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    encoder = export_encoder(parameters(str(path), alpha=1.0), find_weights(str(path), 1.0))
    model = import_keras().applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, pooling="avg", weights=str(path)
    )
    expected = np.asarray(model(pixels.astype(np.float32) / 127.5 - 1.0, training=False))
    np.testing.assert_allclose(runtime.open_network(encoder, threads=1)(pixels), expected, atol=1e-3)
