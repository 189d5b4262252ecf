"""The fingerprint: everything that can change a feature, and nothing else."""

import dataclasses
import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruits_pipeline.encoders.card import ARITHMETIC, EncoderCard, EncoderWeights, is_same_encoder
from fruits_pipeline.images import PREPROCESSING
from fruits_pipeline.parameters import EncoderParameters

CARD = EncoderCard("MobileNetV2", 0.35, "onnx", "bundled", "a" * 64, exported_with={"onnx": "1"})
ALIKE = {"weights": ["imagenet", "/a/renamed.h5"], "exported_with": [{}, {"onnx": "2", "difference": 1e-6}]}
DIFFERENT = {
    "name": ["MobileNetV3"],
    "alpha": [0.350001, 1.0],
    "engine": ["tensorflow"],
    "weights_sha256": ["b" * 64, "a" * 63],
    "preprocessing": [PREPROCESSING + "1", ""],
    "precision": ["bfloat16"],
    "arithmetic": ["four images per call", "another way"],
}

cards = st.builds(
    EncoderCard,
    name=st.sampled_from(["MobileNetV2", "M"]),
    alpha=st.sampled_from([0.35, 0.5, 1, 1.0]),
    engine=st.sampled_from(["onnx", "tensorflow"]),
    weights=st.sampled_from(["bundled", "é/w.h5"]),
    weights_sha256=st.sampled_from(["a" * 64, "b" * 64]),
    preprocessing=st.sampled_from([PREPROCESSING, "other/2"]),
    precision=st.sampled_from(["float32", "bfloat16"]),
    arithmetic=st.sampled_from(["", "four images per call"]),
    exported_with=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.floats(0, 1), max_size=2),
)


def test_every_field_is_tested():
    assert {field.name for field in dataclasses.fields(EncoderCard)} == {*ALIKE, *DIFFERENT}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in DIFFERENT.items() for value in values]
)
def test_what_changes_a_feature_changes_the_fingerprint(field, value):
    assert dataclasses.replace(CARD, **{field: value}).fingerprint != CARD.fingerprint


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in ALIKE.items() for value in values])
def test_nothing_else_changes_it(field, value):
    assert dataclasses.replace(CARD, **{field: value}).fingerprint == CARD.fingerprint


def test_the_fingerprint_is_the_same_for_ever():
    """Stored tables name it: if this fails, all images of all users would be featurised again."""
    card = EncoderCard("MobileNetV2", 1.0, "onnx", "imagenet", "0" * 64, "pillow-rgb-on-white-exif-bicubic-224/1")
    parts = b'["MobileNetV2", 1.0, "onnx", "' + b"0" * 64 + b'", "pillow-rgb-on-white-exif-bicubic-224/1"]'
    assert card.fingerprint == hashlib.sha256(parts).hexdigest()[:16]
    assert dataclasses.replace(card, alpha=1).fingerprint == card.fingerprint
    in_bfloat16 = dataclasses.replace(card, precision="bfloat16", arithmetic="four images per call")
    parts = parts[:-1] + b', "bfloat16", "four images per call"]'
    assert in_bfloat16.fingerprint == hashlib.sha256(parts).hexdigest()[:16]


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(cards, cards)
def test_fingerprints_are_equal_exactly_where_features_are(one, other):
    def identity(card: EncoderCard) -> tuple:
        computed = card.preprocessing, card.precision, card.arithmetic
        return card.name, float(card.alpha), card.engine, card.weights_sha256, *computed

    assert (one.fingerprint == other.fingerprint) == (identity(one) == identity(other))
    assert len(one.fingerprint) == 16
    assert set(one.fingerprint) <= set("0123456789abcdef")


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(cards)
def test_cards_survive_json(card):
    import json

    assert EncoderCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert card.to_dict()["fingerprint"] == card.fingerprint
    assert card.fingerprint in card.summary
    assert card.weights in card.summary


# ---- which exported encoder is asked for -----------------------------------------------------------------------------


def asked(**changes) -> EncoderParameters:
    return EncoderParameters(
        **{
            "name": "MobileNetV2",
            "alpha": 0.35,
            "weights": "bundled",
            "engine": "onnx",
            "precision": "float32",
            **changes,
        }
    )


FILE = EncoderWeights("bundled", b"weights")
STORED = dataclasses.replace(CARD, weights_sha256=hashlib.sha256(b"weights").hexdigest())


def test_a_file_is_known_by_its_bytes():
    assert is_same_encoder(STORED, asked(), FILE)
    assert is_same_encoder(STORED, asked(weights="moved.h5"), EncoderWeights("moved.h5", b"weights"))
    assert not is_same_encoder(STORED, asked(), EncoderWeights("bundled", b"retrained"))


@pytest.mark.parametrize("changes", [{"alpha": 0.5}, {"engine": "tensorflow"}, {"precision": "bfloat16"}])
def test_another_network_is_another_encoder(changes):
    assert not is_same_encoder(STORED, asked(**changes), FILE)


def test_what_was_computed_in_another_way_is_another_encoder():
    """Cards of before it had a name are such ones."""
    for precision, arithmetic in ARITHMETIC.items():
        card = dataclasses.replace(STORED, precision=precision, arithmetic=arithmetic)
        assert is_same_encoder(card, asked(precision=precision), FILE)
        assert not is_same_encoder(
            dataclasses.replace(card, arithmetic="in a way of old"), asked(precision=precision), FILE
        )
    assert not is_same_encoder(dataclasses.replace(STORED, precision="bfloat16"), asked(precision="bfloat16"), FILE)


@pytest.mark.parametrize("changes", [{"name": "MobileNetV3"}, {"preprocessing": "older/0"}])
def test_a_card_of_another_kind_is_another_encoder(changes):
    assert not is_same_encoder(dataclasses.replace(STORED, **changes), asked(), FILE)


def test_without_a_file_the_name_decides():
    random = dataclasses.replace(CARD, weights="random:7")
    assert is_same_encoder(random, asked(weights="random:7"), EncoderWeights("random:7"))
    assert not is_same_encoder(random, asked(weights="random:8"), EncoderWeights("random:8"))
    imagenet = dataclasses.replace(CARD, weights="imagenet")
    assert is_same_encoder(imagenet, asked(weights="imagenet"), EncoderWeights("imagenet"))


def test_weights():
    assert EncoderWeights("bundled", b"").sha256 == hashlib.sha256(b"").hexdigest()
    assert EncoderWeights("imagenet").sha256 is None
    assert (EncoderWeights("random:42").seed, EncoderWeights("bundled", b"").seed) == (42, None)
    assert "secret" not in repr(EncoderWeights("x", b"secret"))
