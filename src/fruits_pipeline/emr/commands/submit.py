"""`kedro emr submit` and `watch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fruits_pipeline.emr import artifacts as files
from fruits_pipeline.emr import aws, steps
from fruits_pipeline.emr import upload as uploads
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.commands.deploy import cluster_stack
from fruits_pipeline.emr.commands.setup import Setup
from fruits_pipeline.emr.commands.upload import artifact_group, send
from fruits_pipeline.emr.remains import Thing
from fruits_pipeline.emr.settings import read_conf
from fruits_pipeline.errors import InputError


def submit(
    setup: Setup, params: str, pipelines: str | None, cluster_id: str | None, old_code: bool = False
) -> str | None:
    """Adds a step and returns its id; None in a dry run."""
    settings = setup.settings
    found = files.find_artifacts(settings, setup.project)
    spark = read_conf(setup.conf_source, setup.env, "spark")
    if setup.dry_run:
        target = cluster_id or f"<ClusterId of {settings.stack('cluster')}>"
        request = steps.step_request(target, settings, found, spark, params, pipelines, setup.env)
        show_call("emr", "add_job_flow_steps", request)
        return None
    emr = setup.client("emr")
    cluster = living_cluster(setup, emr, cluster_id)
    if not old_code:
        _check_code(setup, cluster, found)
    send(setup, artifact_group(settings, found, but=found.of_nodes))
    request = steps.step_request(cluster.id, settings, found, spark, params, pipelines, setup.env)
    setup.remains.add(cluster_thing(setup, emr, cluster))
    step_id: str = emr.add_job_flow_steps(**request)["StepIds"][0]
    say(f"Step {step_id} on cluster {cluster.id} ({cluster.state}).")
    say(f"Watch it: {setup.command('watch', step_id)}")
    return step_id


def _check_code(setup: Setup, cluster: steps.Cluster, found: files.Artifacts) -> None:
    """Refuses to run other code than the person who submits it sees: nodes are made from the bucket once."""
    if cluster.made is None:
        return
    settings = setup.settings
    items = [item for item in found.items(settings) if item.path in found.of_nodes]
    folder = settings.key(files.FOLDER, "")
    changed = uploads.changed_since(setup.client("s3"), settings.the_bucket, items, cluster.made, folder)
    if changed:
        raise InputError(
            f"The nodes of cluster {cluster.id} were made on {cluster.made:%Y-%m-%d at %H:%M} UTC, before "
            f"{', '.join(changed)} changed. For the new code, make new ones: {setup.command('terminate')}, then "
            f"{setup.command('deploy')}. To run with the code that they have: {setup.command('submit', '--old-code')}"
        )


def living_cluster(setup: Setup, emr: Any, cluster_id: str | None) -> steps.Cluster:
    """The cluster that was named, or that of the stack.

    Raises:
        InputError: If it has ended.
    """
    chosen = cluster_id or cluster_stack(setup, setup.client("cloudformation")).outputs["ClusterId"]
    cluster = steps.describe_cluster(emr, chosen)
    if not cluster.is_alive:
        why = cluster.reason or cluster.state
        raise InputError(f"Cluster {cluster.id} has ended ({why}). Start another: {setup.command('deploy')}")
    return cluster


def cluster_thing(setup: Setup, emr: Any, cluster: steps.Cluster) -> Thing:
    """What goes on costing money when a command is interrupted."""

    def state() -> str | None:
        now = steps.describe_cluster(emr, cluster.id)
        return now.state if now.is_alive else None

    return Thing(f"cluster {cluster.id}", setup.hourly(), setup.command("terminate"), state)


def watch(setup: Setup, step_id: str | None, cluster_id: str | None, lines: int) -> int:
    """Follows a step to its end; its exit code."""
    if setup.dry_run:
        show_call(
            "emr",
            "describe_step (until it is over)",
            {"ClusterId": cluster_id or "<of the stack>", "StepId": step_id or "<the latest>"},
        )
        return 0
    emr, s3 = setup.client("emr"), setup.client("s3")
    chosen = cluster_id or cluster_stack(setup, setup.client("cloudformation")).outputs["ClusterId"]
    cluster = steps.describe_cluster(emr, chosen)
    step = steps.describe_step(emr, cluster.id, step_id) if step_id else steps.latest_step(emr, cluster.id)
    say(f"Step {step.id} ({step.name}) on cluster {cluster.id}, which costs {setup.hourly()}")
    _remember_step(setup, emr, cluster, step)
    news = _News(lambda: _driver_lines(s3, cluster, step.id))
    over = steps.watch_step(emr, cluster.id, step.id, news.tell)
    controller = _readable(lambda: steps.step_log(s3, cluster, step.id, "controller"))
    for line in _readable(lambda: _driver_lines(s3, cluster, step.id))[-lines:]:
        say(f"    {line}")
    say(f"Step {over.id}: {over.state}{' – ' + over.reason if over.reason else ''}")
    say(f"Logs: {cluster.log_uri}{cluster.id}/steps/{step.id}/ (EMR copies them every five minutes)")
    return steps.exit_code(over, controller)


def _remember_step(setup: Setup, emr: Any, cluster: steps.Cluster, step: steps.Step) -> None:
    """What Ctrl-C would leave: watching is not working, both go on."""
    region = setup.settings.region
    cancel = f"aws emr cancel-steps --region {region} --cluster-id {cluster.id} --step-ids {step.id}"

    def state() -> str | None:
        now = steps.describe_step(emr, cluster.id, step.id)
        return None if now.is_over else f"{now.state}, goes on; watch it again: {setup.command('watch', step.id)}"

    setup.remains.add(Thing(f"step {step.id}", "nothing by itself", cancel, state))
    if cluster.is_alive:
        setup.remains.add(cluster_thing(setup, emr, cluster))


def _driver_lines(s3: Any, cluster: steps.Cluster, step_id: str) -> list[str]:
    """The driver's log, or spark-submit's while there is none."""
    submitted = steps.step_log(s3, cluster, step_id, "stderr")
    return steps.driver_log(s3, cluster, submitted) or submitted


def _readable(read: Callable[[], list[str]]) -> list[str]:
    """Logs are a help: where they may not be read, the step's end is told all the same."""
    try:
        return read()
    except Exception as error:
        return [f"(the logs cannot be read: {aws.explain(error) or error})"]


@dataclass
class _News:
    """Tells the last line of a log when it is another than before."""

    read: Callable[[], list[str]]
    last: str = ""

    def tell(self) -> None:
        lines = _readable(self.read)
        if lines and lines[-1] != self.last:
            self.last = lines[-1]
            say(f"    {self.last}")
