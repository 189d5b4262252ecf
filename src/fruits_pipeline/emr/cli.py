"""`kedro emr …`: options and help texts only; `commands` does the work and is imported when a command runs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fruits_pipeline.errors import FruitsError

if TYPE_CHECKING:
    from fruits_pipeline.emr.commands.setup import Setup

Command = TypeVar("Command", bound=Callable[..., Any])

GENERAL = ("env", "conf_source", "name", "region", "bucket", "prefix")
MACHINES = (
    click.option("--node-size", type=click.Choice(["xlarge", "2xlarge", "4xlarge"]), help="4, 8 or 16 vCPU a node."),
    click.option("--task-nodes", type=int, help="Nodes at the start that only compute."),
    click.option("--max-nodes", type=int, help="Core and task nodes that managed scaling may start."),
    click.option("--spot/--on-demand", "spot", default=None, help="What task nodes are."),
    click.option("--idle-minutes", type=int, help="After so long without work the cluster ends itself."),
)


class Interrupted(click.ClickException):
    """Ctrl-C."""

    exit_code = 130  # as shells have it: 128 + SIGINT


@click.group(name="emr")
def emr() -> None:
    """The project on Amazon EMR: plan, check, deploy, upload, submit, watch, ui, clone, terminate.

    Settings: conf/cloud/emr.yml; options override. FRUITS_BUCKET or --bucket names the bucket. All commands know
    --dry-run, which prints what would be called and calls nothing.
    """


def command(*settings: str) -> Callable[[Command], click.Command]:
    """Makes a command of the group: the general options, the settings among its own, and errors as one message.

    Args:
        settings: Names of options that override settings, and do not reach the function.

    Returns:
        A decorator. The function gets a `Setup` and its own options.
    """

    def decorate(function: Command) -> click.Command:
        @functools.wraps(function)
        def run(**options: Any) -> Any:
            return _guarded(function, options, settings)

        for option in reversed(_general_options()):
            run = option(run)
        return emr.command(name=function.__name__.removesuffix("_command"))(run)

    return decorate


def _general_options() -> list[Callable[[Any], Any]]:
    return [
        click.option("--bucket", help="Name of the bucket (else FRUITS_BUCKET, else conf)."),
        click.option("--region", help="AWS region, in the European Union."),
        click.option("--name", help="Name of the cluster."),
        click.option("--prefix", help="Folder in the bucket."),
        click.option("--env", "-e", help="Environment of the configuration.  [default: cloud]"),
        click.option("--conf-source", help="Folder or archive of the configuration.  [default: conf]"),
        click.option("--dry-run", is_flag=True, help="Print what would be called, and call nothing."),
    ]


def machines(function: Command) -> Command:
    """Adds the options that describe machines."""
    for option in reversed(MACHINES):
        function = option(function)
    return function


encoder_params = click.option("--params", default="", help="As for kedro run --params: names the encoder.")

MACHINE_SETTINGS = ("node_size", "task_nodes", "max_nodes", "spot", "idle_minutes")


def _guarded(function: Callable[..., Any], options: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Runs a command; whatever ends it early, what exists by then and costs money is said."""
    remains: Any = None
    try:
        setup = _setup(options, names)
        remains = setup.remains
        return function(setup, **options)
    except (KeyboardInterrupt, click.Abort):
        raise Interrupted("\n".join(["Interrupted.", *_lines(remains)])) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        left = _lines(remains) if remains and remains.things else []
        message = _explained(error)
        if message is None or os.environ.get("FRUITS_TRACEBACK"):
            click.echo("\n".join(left), err=True)
            raise
        raise click.ClickException("\n".join([message, *left])) from None


def _setup(options: dict[str, Any], names: tuple[str, ...]) -> Setup:
    from fruits_pipeline.emr.commands.setup import make_setup

    context = click.get_current_context()
    given = {name: value for name in GENERAL if (value := options.pop(name)) is not None}
    conf_source = Path(given.get("conf_source", "conf"))
    return make_setup(
        program=(context.parent or context).command_path,
        project=Path.cwd(),
        conf_source=conf_source if conf_source.is_absolute() else Path.cwd() / conf_source,
        env=given.get("env", "cloud"),
        dry_run=options.pop("dry_run"),
        given=given,
        options={name: options.pop(name) for name in names},
    )


def _lines(remains: Any) -> list[str]:
    lines: list[str] = remains.lines() if remains else ["Nothing was started."]
    return lines


def _explained(error: BaseException) -> str | None:
    """What a person needs to know; None for errors nobody has foreseen."""
    if isinstance(error, FruitsError):
        return str(error)
    from fruits_pipeline.emr.aws import explain

    return explain(error)


@command(*MACHINE_SETTINGS)
@click.argument("images")
@machines
@encoder_params
@click.option(
    "--images-per-second", type=click.FloatRange(min=0, min_open=True), help="Of one core; else it is measured here."
)
@click.option("--nodes", type=click.IntRange(min=1), help="Core and task nodes; else those of the settings.")
@click.option(
    "--within", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES", help="Choose the nodes for this time."
)
@click.option(
    "--max-cost", type=click.FloatRange(min=0), metavar="EUR", help="Refuse a plan that costs more (on-demand)."
)
def plan_command(setup: Setup, **options: Any) -> None:
    """Say how long IMAGES (a folder or s3://bucket/prefix) will take and what that costs."""
    from fruits_pipeline.emr.commands.plan import plan_run

    plan_run(setup, **options)


@command(*MACHINE_SETTINGS)
@machines
@encoder_params
def check_command(setup: Setup, params: str) -> None:
    """Look whether everything is ready: one line each, ✓ or ✗ with the cure."""
    from fruits_pipeline.emr.commands.check import check

    if not check(setup, params):
        raise click.exceptions.Exit(1)


@command(*MACHINE_SETTINGS, "budget_email")
@machines
@click.option("--budget-email", help="Who is warned when the monthly budget runs out.")
@click.option("--storage-only", is_flag=True, help="No cluster yet: upload the images first.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def deploy_command(setup: Setup, storage_only: bool, yes: bool) -> None:
    """Make or update bucket, budget and cluster. The cluster costs money until it ends."""
    from fruits_pipeline.emr.commands.deploy import deploy

    deploy(setup, yes, storage_only)


@command()
@click.argument("images", required=False, type=click.Path(path_type=Path))
@click.option(
    "--artifacts/--no-artifacts", "with_artifacts", default=True, help="Wheel, configuration, scripts, encoders."
)
def upload_command(setup: Setup, images: Path | None, with_artifacts: bool) -> None:
    """Send the packaged project, and the folder IMAGES, into the bucket; what is there is skipped."""
    from fruits_pipeline.emr.commands.upload import upload

    upload(setup, images, with_artifacts)


@command()
@click.option("--params", default="", help="As for kedro run --params.")
@click.option("--pipelines", help="As for kedro run --pipelines.")
@click.option("--cluster-id", help="Another cluster than that of the stack.")
@click.option("--old-code", is_flag=True, help="Run with the code of the nodes, though it is older than that here.")
@click.option("--watch", "then_watch", is_flag=True, help="Watch the step afterwards.")
@click.option("--lines", type=click.IntRange(min=1), default=40, show_default=True, help="Of the log at the end.")
def submit_command(
    setup: Setup,
    params: str,
    pipelines: str | None,
    cluster_id: str | None,
    old_code: bool,
    then_watch: bool,
    lines: int,
) -> None:
    """Run the pipeline on the cluster, as a step."""
    from fruits_pipeline.emr.commands.submit import submit, watch

    step = submit(setup, params, pipelines, cluster_id, old_code)
    if then_watch and step is not None:
        raise click.exceptions.Exit(watch(setup, step, cluster_id, lines))


@command()
@click.argument("step", required=False)
@click.option("--cluster-id", help="Another cluster than that of the stack.")
@click.option("--lines", type=click.IntRange(min=1), default=40, show_default=True, help="Of the log at the end.")
def watch_command(setup: Setup, step: str | None, cluster_id: str | None, lines: int) -> None:
    """Follow STEP (the latest one if none is named) to its end; the exit code is the step's."""
    from fruits_pipeline.emr.commands.submit import watch

    raise click.exceptions.Exit(watch(setup, step, cluster_id, lines))


@command()
@click.argument("pages", nargs=-1, type=click.Choice(["spark", "yarn", "jupyter"]))
@click.option("--cluster-id", help="Another cluster than that of the stack.")
@click.option("--open", "start", is_flag=True, help="Run the port-forwards and open the pages.")
def ui_command(setup: Setup, pages: tuple[str, ...], cluster_id: str | None, start: bool) -> None:
    """Show how to reach the cluster's pages (all, or PAGES) through Session Manager."""
    from fruits_pipeline.emr.commands.ui import ui

    ui(setup, pages, cluster_id, start)


@command()
@click.argument("new_name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def clone_command(setup: Setup, new_name: str, yes: bool) -> None:
    """Start a second cluster NEW_NAME with the parameters of the first."""
    from fruits_pipeline.emr.commands.deploy import clone

    clone(setup, new_name, yes)


@command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask (deleting data always asks).")
@click.option("--delete-data", is_flag=True, help="Delete the bucket too, with everything in it.")
def terminate_command(setup: Setup, yes: bool, delete_data: bool) -> None:
    """End the cluster and show what is left and what it costs."""
    from fruits_pipeline.emr.commands.terminate import terminate

    if not terminate(setup, yes, delete_data):
        raise click.exceptions.Exit(1)
