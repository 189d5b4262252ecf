"""Paths as a shell user means them; errors as one message."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.io import DatasetError

from fruits_pipeline import cli
from fruits_pipeline.errors import InputError, Terminated

HERE = Path("/home/somebody")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"images": "a b/é"}, {"images": "/home/somebody/a b/é"}),
        ({"output": "/abs/x", "images": "../y"}, {"output": "/abs/x", "images": "/home/y"}),
        ({"images": "s3://bucket/x"}, {"images": "s3://bucket/x"}),
        ({"images": 2024}, {"images": "/home/somebody/2024"}),
        ({"encoder": {"weights": "w.h5", "alpha": 1.0}}, {"encoder": {"weights": "/home/somebody/w.h5", "alpha": 1.0}}),
        ({"encoder": {"weights": "imagenet"}}, {"encoder": {"weights": "imagenet"}}),
        ({"encoder": {"weights": "random:7"}}, {"encoder": {"weights": "random:7"}}),
        ({"pca": {"variance": 0.9}}, {"pca": {"variance": 0.9}}),
        ({}, {}),
    ],
)
def test_relative_paths_start_where_the_user_stands(given, expected):
    before = str(given)
    assert cli.with_absolute_paths(given, HERE) == expected
    assert str(given) == before


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert cli.with_absolute_paths({"images": "~/photos"}, HERE) == {"images": "/home/me/photos"}


def broken_by(interrupt: KeyboardInterrupt) -> Exception:
    """As Kedro wraps what Py4J meets with while it gives up an interrupted call."""
    error = DatasetError("Failed while saving")
    error.__cause__ = ConnectionError("Answer from Java side is empty")
    error.__cause__.__context__ = interrupt
    return error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("no such folder: mend it so"), 1, "Error: no such folder: mend it so"),
        (KeyboardInterrupt(), 130, "Interrupted. Finished batches are kept; run the same command again"),
        (Terminated(), 143, "Terminated. Finished batches are kept; run the same command again"),
        (broken_by(KeyboardInterrupt()), 130, "Interrupted. Finished batches are kept; run the same command again"),
        (broken_by(Terminated()), 143, "Terminated. Finished batches are kept; run the same command again"),
    ],
)
def test_errors_are_one_message(monkeypatch, error, code, words):
    def fail(**_):
        raise error

    monkeypatch.setattr(kedro_run, "callback", fail)
    result = CliRunner().invoke(cli.cli, ["run"])
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output


def test_unforeseen_errors_keep_their_traceback(monkeypatch):
    def fail(**_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(kedro_run, "callback", fail)
    result = CliRunner().invoke(cli.cli, ["run"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_all_of_kedros_options_are_there():
    assert {option.name for option in cli.cli.commands["run"].params} == {option.name for option in kedro_run.params}


def test_the_packaged_project_runs_our_command():
    """Kedro looks for `run` in the package's `cli`; without it, `python -m fruits_pipeline` would be an error."""
    from kedro.framework.cli.utils import find_run_command

    from fruits_pipeline import cli

    assert find_run_command("fruits_pipeline") is cli.run is cli.cli.commands["run"]
