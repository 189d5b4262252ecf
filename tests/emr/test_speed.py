"""Measuring: real images through a real network."""

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruits_pipeline.emr import speed
from fruits_pipeline.encoders.card import Encoder, EncoderCard
from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import EncoderParameters, FeaturizationParameters

PROJECT = Path(__file__).resolve().parents[2]
SAMPLE = PROJECT / "data" / "01_raw" / "sample"
CARD = EncoderCard("MobileNetV2", 0.35, "onnx", "w", "0")


@pytest.fixture
def network(monkeypatch):
    """Counts what it is given; the real one is measured in tests of the command."""
    seen = []

    def run(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return np.zeros((len(pixels), 1280), np.float32)

    monkeypatch.setattr(speed, "open_network", lambda encoder, threads: run if threads == 1 else None)
    return seen


def ticking(step):
    now = [0.0]

    def clock():
        now[0] += step
        return now[0]

    return clock


def test_it_is_images_per_second_after_warming_up(network):
    paths = [str(path) for path in sorted((SAMPLE / "Banana").glob("*_100.jpg"))[:10]]
    measured = speed.measure(paths, Encoder(CARD, b""), 6, clock=ticking(5.0))
    assert (measured.per_second, measured.images) == (10 / 5, 10)
    assert network == [(count, 224, 224, 3) for count in (6, 6, 4)]  # the first six to warm up, then all


def test_the_network_gets_as_many_images_as_its_card_says(network, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xffnonsense")
    good = [str(path) for path in sorted((SAMPLE / "Banana").glob("*_100.jpg"))[:6]]
    card = dataclasses.replace(CARD, precision="bfloat16")
    measured = speed.measure([*good[:3], str(tmp_path / "broken.jpg"), *good[3:]], Encoder(card, b""), 16, ticking(5.0))
    assert (measured.per_second, measured.images) == (6 / 5, 6)
    assert [shape[0] for shape in network] == [3, 4, 2]  # the first three of four to warm up, then all


def test_as_many_images_are_decoded_before_they_are_encoded_as_in_a_run(network, monkeypatch):
    decode = speed.decode
    monkeypatch.setattr(speed, "decode", lambda content: network.append("decoded") or decode(content))
    paths = [str(path) for path in sorted((SAMPLE / "Banana").glob("*_100.jpg"))[:6]]
    speed.measure(paths, Encoder(CARD, b""), 2, ticking(5.0))
    order = ["decoded" if event == "decoded" else "encoded" for event in network]
    four = [*["decoded"] * 4, "encoded", "encoded"]
    two = [*["decoded"] * 2, "encoded"]
    assert order == [*two, *four, *two]  # two to warm up, then all six: four are decoded before the first is encoded


def test_broken_images_count_as_time_but_not_as_images(network, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xffnonsense")
    good = str(SAMPLE / "Banana" / "0_100.jpg")
    measured = speed.measure([str(tmp_path / "broken.jpg"), good, "/gone.jpg"], Encoder(CARD, b""), 4, ticking(1.0))
    assert measured.images == 1


def test_nothing_to_measure_is_an_error_with_a_cure(network, tmp_path):
    with pytest.raises(InputError, match="--images-per-second"):
        speed.measure(["/gone.jpg"], Encoder(CARD, b""), 4)


@given(st.lists(st.text(), unique=True), st.integers(1, 80))
def test_a_sample_is_spread_over_all(items, count):
    chosen = speed.spread(items, count)
    assert len(chosen) == min(count, len(items))
    assert [item for item in items if item in set(chosen)] == chosen
    if len(items) > count:
        positions = [items.index(item) for item in chosen]
        gaps = [b - a for a, b in pairwise(positions)]
        assert all(abs(gap - len(items) / count) <= 1 for gap in gaps)


def encoder(params=""):
    return speed.read_parameters(EncoderParameters, "encoder", PROJECT / "conf", "cloud", params)


def featurization(params=""):
    return speed.read_parameters(FeaturizationParameters, "featurization", PROJECT / "conf", "cloud", params)


def test_the_network_is_that_of_the_parameters():
    wanted = encoder()
    assert (wanted.name, wanted.engine) == ("MobileNetV2", "onnx")
    other = encoder("pca.variance=0.9,encoder.alpha=1.0,encoder.weights=imagenet")
    assert (other.alpha, other.weights, other.engine) == (1.0, "imagenet", "onnx")
    with pytest.raises(InputError, match="alpha"):
        encoder("encoder.alpha=2")
    assert featurization("featurization.batch_size=7").batch_size == 7
    assert featurization().batch_size == 16
    with pytest.raises(InputError, match="batch_size"):
        featurization("featurization.batch_size=0")
    assert speed.extensions(PROJECT / "conf", "cloud") == ["jpg", "jpeg", "png"]
