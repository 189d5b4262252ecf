"""The project's `kedro run`: Kedro's own, with paths as a shell user means them and errors as one message."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from fruits_pipeline.emr.cli import emr
from fruits_pipeline.failures import explain, told_once

WEIGHT_NAMES = ("bundled", "imagenet")


class Interrupted(click.ClickException):
    """Ctrl-C."""

    exit_code = 130  # as shells have it: 128 + SIGINT


@click.group(name="fruits_pipeline")
def cli() -> None:
    """Commands of fruits_pipeline."""


def run_pipeline(**options: Any) -> Any:
    """Runs Kedro's run command; see `kedro run --help`.

    Raises:
        ClickException: For every failure that a person can mend, with what failed and how to mend it.
    """
    options["params"] = with_absolute_paths(options["params"], Path.cwd())
    try:
        with told_once():
            return kedro_run.callback(**options)  # type: ignore[misc]
    except (Exception, KeyboardInterrupt) as error:
        message = explain(error)
        if message is None or os.environ.get("FRUITS_TRACEBACK"):
            raise
        failure = Interrupted if isinstance(error, KeyboardInterrupt) else click.ClickException
        raise failure(message) from None


run = click.Command("run", callback=run_pipeline, params=list(kedro_run.params), help=kedro_run.help)
"""By this name Kedro finds the command of a packaged project."""

cli.add_command(run)


cli.add_command(emr)


def with_absolute_paths(params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes paths among the runtime parameters absolute: to a shell user they are relative to where he stands.

    Args:
        params: Runtime parameters as Kedro parsed them.
        folder: What relative paths are relative to.

    Returns:
        The parameters with `images`, `output` and a path in `encoder.weights` made absolute.
    """
    changed = {
        name: _absolute(value, folder) if name in ("images", "output") else value for name, value in params.items()
    }
    encoder = params.get("encoder")
    if isinstance(encoder, dict) and "weights" in encoder:
        weights = str(encoder["weights"])
        is_name = weights in WEIGHT_NAMES or weights.startswith("random:")
        changed["encoder"] = {**encoder, "weights": weights if is_name else _absolute(weights, folder)}
    return changed


def _absolute(path: Any, folder: Path) -> str:
    text = str(path)
    return text if "://" in text else os.path.abspath(folder / Path(text).expanduser())
