"""From an exception to what a person needs: a message with a cure, or the traceback of what nobody foresaw."""

import logging
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError
from kedro.validation.parameter_validator import ParameterValidator

from fruits_pipeline import errors
from fruits_pipeline.errors import ContractError, EncoderError, FruitsError, InputError, LockedError, QuarantineError
from fruits_pipeline.failures import TRACEBACK_HINT, explain, told_once
from fruits_pipeline.pipeline_registry import register_pipelines
from fruits_pipeline.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).resolve().parents[1]


def raised(error: BaseException, *causes: BaseException, implicit: bool = False) -> BaseException:
    """`error` as it is after being raised from its causes, the last one first."""
    for outer, inner in zip((error, *causes), causes, strict=False):
        if implicit:
            outer.__context__ = inner
        else:
            outer.__cause__ = inner
    return error


@pytest.mark.parametrize("kind", [InputError, EncoderError, ContractError, LockedError, QuarantineError, FruitsError])
def test_our_own_errors_speak_for_themselves(kind):
    assert explain(kind("What failed. What mends it.")) == "What failed. What mends it."


def test_all_our_errors_are_tested_above():
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds == {InputError, EncoderError, ContractError, LockedError, QuarantineError, FruitsError}


@pytest.mark.parametrize("implicit", [False, True])
def test_our_errors_are_found_within_those_of_kedro(implicit):
    wrapped = raised(
        DatasetError("Failed while loading data from dataset."),
        ValueError("x"),
        InputError("Mend it."),
        implicit=implicit,
    )
    assert explain(wrapped) == "Mend it."


@pytest.mark.parametrize("implicit", [False, True])
def test_ctrl_c_wins_over_what_it_broke(implicit):
    message = explain(raised(DatasetError("Failed while saving"), KeyboardInterrupt(), implicit=implicit))
    assert message.startswith("Interrupted. Finished batches are kept")
    assert explain(KeyboardInterrupt()) == message


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("java.io.IOException: No space left on device", "The disk is full."),
        ("DiskErrorException: Could not find any valid local directory for s3ablock-0001-", "The disk is full."),
        (
            "[PATH_NOT_FOUND] Path does not exist: file:/a/b. SQLSTATE: 42K03",
            "file:/a/b. does not exist. Run the pipelines",
        ),
        ("java.lang.OutOfMemoryError: Java heap space", "raise spark.driver.memory"),
        ("java.io.FileNotFoundException: /out/x (Permission denied)", "check its permissions"),
    ],
)
def test_known_causes_have_a_cure(text, cure):
    for error in (RuntimeError(text), raised(DatasetError("Failed while saving data"), RuntimeError(text))):
        message = explain(error)
        assert cure in message
        assert message.endswith(TRACEBACK_HINT)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("a"), AssertionError(), raised(RuntimeError("a"), ValueError("b"))]
)
def test_what_nobody_foresaw_keeps_its_traceback(error):
    assert explain(error) is None


def test_kedros_own_message_is_enough_where_there_is_no_cause():
    assert explain(DatasetError("encoder_weights is read-only.")) == "encoder_weights is read-only."
    assert explain(raised(DatasetError("Failed while loading"), ValueError("odd"))) is None


def test_a_ring_of_causes_comes_to_an_end():
    one, other = ValueError("1"), ValueError("2")
    one.__cause__, other.__cause__ = other, one
    assert explain(one) is None


# ---- parameters ------------------------------------------------------------------------------------------------------


def refused(parameters: dict) -> str:
    """The message for parameters given at the command line."""
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"),
        env="base",
        runtime_params=parameters,
        **{**CONFIG_LOADER_ARGS, "default_run_env": "base"},
    )
    with pytest.raises(ParameterValidationError) as caught:
        ParameterValidator(register_pipelines()).validate_raw_params(loader["parameters"])
    return explain(caught.value)


def test_parameters_are_named_with_what_is_wrong_and_what_was_given():
    message = refused({"pca": {"variance": 95}, "featurization": {"batch_size": 0, "refresh": "perhaps"}})
    assert message.splitlines()[0] == "Parameters out of range or unknown:"
    assert set(message.splitlines()[1:-1]) == {
        "pca.variance: Input should be less than or equal to 1 (given: 95)",
        "featurization.batch_size: Input should be greater than or equal to 1 (given: 0)",
        "featurization.refresh: Input should be a valid boolean, unable to interpret input (given: 'perhaps')",
    }
    assert "conf/base/parameters_<pipeline>.yml" in message.splitlines()[-1]
    assert "pydantic" not in message


def test_misspelt_parameters_are_named():
    message = refused({"pca": {"varianse": 0.9}})
    assert "pca.varianse: Extra inputs are not permitted (given: 0.9)" in message


def test_parameters_that_are_nothing_are_named():
    assert "Parameter 'pca': value is None" in refused({"pca": None})


def test_a_value_of_many_parts_is_named():
    message = refused({"ingestion": {"extensions": ["jpg", None]}})
    assert "ingestion.extensions.1: Input should be a valid string (given: None)" in message


# ---- told once -------------------------------------------------------------------------------------------------------


def test_kedro_is_quiet_about_what_is_about_to_be_explained(caplog):
    log = logging.getLogger("kedro.pipeline.node")
    filters = list(log.filters)
    with caplog.at_level(logging.INFO):
        with told_once():
            log.error("hidden")
            log.warning("a warning")
        log.error("shown")
    assert caplog.messages == ["a warning", "shown"]
    assert log.filters == filters


def test_kedro_speaks_again_after_a_failure():
    log = logging.getLogger("kedro.pipeline.node")
    filters = list(log.filters)
    with pytest.raises(ValueError, match="x"), told_once():
        raise ValueError("x")
    assert log.filters == filters


# ---- real failures of Spark ------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(spark, tmp_path):
    with pytest.raises(Exception, match="PATH_NOT_FOUND") as caught:
        spark.read.parquet(f"{tmp_path}/not here")
    message = explain(caught.value)
    assert "does not exist. Run the pipelines that write it first" in message
    assert str(tmp_path) in message
