"""The project's `kedro run`: Kedro's own, with paths as a shell user means them and errors as one message."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from fruits_pipeline import spark
from fruits_pipeline.emr.cli import emr
from fruits_pipeline.errors import Terminated
from fruits_pipeline.failures import explain, interrupt_in, told_once

WEIGHT_NAMES = ("bundled", "imagenet")


class Interrupted(click.ClickException):
    """Ctrl-C, or SIGTERM."""

    def __init__(self, message: str, number: int) -> None:
        """Sets the exit code to what shells have for a signal: 128 + its number."""
        super().__init__(message)
        self.exit_code = 128 + number  # type: ignore[misc] # Click's own exceptions do the same


@click.group(name="fruits_pipeline")
def cli() -> None:
    """Commands of fruits_pipeline."""


def run_pipeline(**options: Any) -> Any:
    """Runs Kedro's run command; see `kedro run --help`.

    Raises:
        ClickException: For every failure that a person can mend, with what failed and how to mend it.
    """
    _let_sigterm_interrupt()
    atexit.register(gc.freeze)  # or the interpreter would search all that it has for garbage before it ends: 0.3 s
    options["params"] = with_absolute_paths(options["params"], Path.cwd())
    try:
        with told_once(), spark.run_is_coming():
            return kedro_run.callback(**options)  # type: ignore[misc]
    except (Exception, KeyboardInterrupt) as error:
        message = explain(error)
        if message is None or os.environ.get("FRUITS_TRACEBACK"):
            raise
        if interrupt := interrupt_in(error):
            number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
            raise Interrupted(message, number) from None
        raise click.ClickException(message) from None


def _let_sigterm_interrupt() -> None:
    """Lets a run that is told to end give its output back and say how to go on, as with Ctrl-C."""

    def end(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


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
        The parameters with `images`, `output` and the paths in `encoder.weights` and `forget.paths` made absolute.
    """
    changed = {
        name: _absolute(value, folder) if name in ("images", "output") else value for name, value in params.items()
    }
    encoder = params.get("encoder")
    if isinstance(encoder, dict) and "weights" in encoder:
        weights = str(encoder["weights"])
        is_name = weights in WEIGHT_NAMES or weights.startswith("random:")
        changed["encoder"] = {**encoder, "weights": weights if is_name else _absolute(weights, folder)}
    forget = params.get("forget")
    if isinstance(forget, dict) and "paths" in forget:
        paths = [path.strip() for path in str(forget["paths"]).split(";") if path.strip()]
        changed["forget"] = {**forget, "paths": ";".join(_image_path(path, folder) for path in paths)}
    return changed


def _image_path(path: str, folder: Path) -> str:
    """As it stands in the tables; a slash at the end says that it is a folder."""
    is_known = path.startswith("file:")
    return path if is_known else _absolute(path, folder) + ("/" if path.endswith("/") and "://" not in path else "")


def _absolute(path: Any, folder: Path) -> str:
    text = str(path)
    return text if "://" in text else os.path.abspath(folder / Path(text).expanduser())
