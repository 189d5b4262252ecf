"""Which earlier fit projects, and what is said where there is none that could."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from fruits_pipeline.datasets import FitDataset, KeptFitsDataset
from fruits_pipeline.datasets.fits import KeptFit
from fruits_pipeline.encoders.card import Encoder, EncoderCard
from fruits_pipeline.errors import InputError
from fruits_pipeline.fits import ARRAYS, Fit, FitCard
from fruits_pipeline.parameters import ApplyParameters
from fruits_pipeline.pipelines.apply.nodes import choose_fit
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers.summaries import Summary, add_up, summary_of

ENCODER = Encoder(EncoderCard("MobileNetV2", 0.35, "onnx", "random:1", "1" * 64), b"")
OTHER = Encoder(EncoderCard("MobileNetV2", 0.35, "onnx", "random:2", "2" * 64), b"")
IN_USE = ApplyParameters()


def named(fit: str) -> ApplyParameters:
    return ApplyParameters(fit=fit)


def fit(digit: str, encoder: Encoder = ENCODER) -> Fit:
    card = FitCard(digit * 16, encoder.card.fingerprint, f"run {digit}", 40, 2, 0.95, compared={"with": "0" * 16})
    return Fit(card, dict.fromkeys(ARRAYS, np.full(2, float(digit))))


def kept(one: Fit, is_current: bool = False) -> KeptFit:
    return KeptFit(one.card, is_current, lambda: one)


KEPT = [kept(fit("1")), kept(fit("2"), is_current=True), kept(fit("3", OTHER))]


def projection(rows: list[dict]) -> Summary:
    """What is known of a projection of these rows; a column that is not given is null."""
    batch = pa.RecordBatch.from_pylist(rows, arrow_schema("reduced_features"))
    return add_up("reduced_features", [summary_of("reduced_features", batch)])


@pytest.fixture(params=[{}, projection([])], ids=["no projection", "no rows"])
def nothing(request) -> Summary:
    """A projection that does not exist yet, or has no rows."""
    return request.param


def test_the_fit_in_use_is_that_of_the_rows_that_readers_see():
    """The latest fit may be that of a run which died before it projected anything."""
    rows = projection([{"path": path, "fit": "1" * 16} for path in ("a", "b")])
    assert choose_fit(KEPT, rows, ENCODER, IN_USE).card.fit == "1" * 16
    assert choose_fit(KEPT, rows, ENCODER, named("2" * 16)).card.fit == "2" * 16


@pytest.mark.parametrize(("parameters", "digit"), [(IN_USE, "2"), (named("2" * 16), "2"), (named("1" * 16), "1")])
def test_the_fit_in_use_or_the_one_that_is_named(nothing, parameters, digit):
    chosen = choose_fit(KEPT, nothing, ENCODER, parameters)
    assert chosen.card == dataclasses.replace(fit(digit).card, compared={})  # nothing was fitted, so nothing compared
    np.testing.assert_array_equal(chosen.arrays["components"], [float(digit)] * 2)


def test_before_the_first_fit(nothing):
    with pytest.raises(InputError) as caught:
        choose_fit([], nothing, ENCODER, IN_USE)
    assert str(caught.value).startswith("There is no fit yet. Known: none. Make one with kedro run")


def test_a_fit_that_does_not_exist(nothing):
    with pytest.raises(InputError) as caught:
        choose_fit(KEPT, nothing, ENCODER, named("9" * 16))
    message = str(caught.value)
    assert message.startswith(f"There is no fit {'9' * 16}. Known: {'1' * 16} of run run 1, {'2' * 16} of run run 2, ")
    assert "--params=apply.fit=FIT" in message


def test_no_fit_in_use(nothing):
    """As after a run that died before it said which is in use."""
    with pytest.raises(InputError, match=f"There is no fit yet. Known: {'1' * 16} of run run 1"):
        choose_fit([kept(fit("1"))], nothing, ENCODER, IN_USE)


@pytest.mark.parametrize(
    ("parameters", "encoder", "digit"), [(named("3" * 16), ENCODER, "3"), (IN_USE, OTHER, "2")], ids=["named", "in use"]
)
def test_a_fit_of_another_encoders_features(nothing, parameters, encoder, digit):
    with pytest.raises(InputError) as caught:
        choose_fit(KEPT, nothing, encoder, parameters)
    made_by = ENCODER if digit == "2" else OTHER
    message = str(caught.value)
    assert f"Fit {digit * 16} is of features of encoder {made_by.card.fingerprint}" in message
    assert encoder.card.summary in message
    assert "kedro run" in message


def test_a_chosen_fit_is_the_one_in_use_from_now_on(nothing, tmp_path):
    """Through the datasets: the next run without a name takes the same."""
    for digit in ("1", "2"):
        FitDataset(filepath=str(tmp_path)).save(fit(digit))
    chosen = choose_fit(KeptFitsDataset(filepath=str(tmp_path)).load(), nothing, ENCODER, named("1" * 16))
    FitDataset(filepath=str(tmp_path)).save(chosen)
    assert FitDataset(filepath=str(tmp_path)).load().card.fit == "1" * 16
    kept_fits = KeptFitsDataset(filepath=str(tmp_path)).load()
    assert choose_fit(kept_fits, nothing, ENCODER, IN_USE).card == chosen.card
    assert kept_fits[0].card.compared == {"with": "0" * 16}  # what was found when it was made stays
