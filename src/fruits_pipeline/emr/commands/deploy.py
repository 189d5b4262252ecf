"""`kedro emr deploy` and `clone`, and what others ask about their stacks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from fruits_pipeline.emr import artifacts as files
from fruits_pipeline.emr import stack, steps
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.commands.setup import Setup, confirm
from fruits_pipeline.emr.commands.upload import artifact_group, send, show_uploads
from fruits_pipeline.emr.remains import Thing
from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError
from fruits_pipeline.s3 import EU_REGIONS

BUDGET_REGIONS: Final = ("eu-central-1", "eu-west-1", "eu-west-3")
"""Where CloudFormation knows AWS::Budgets::Budget; the budget itself belongs to the account, not to a region."""


def deploy(setup: Setup, yes: bool, storage_only: bool) -> None:
    """Makes or updates bucket and budget, and the cluster unless only the storage is wanted."""
    settings = setup.settings
    _check_template_parameters(setup)
    found = None if storage_only else files.find_artifacts(settings, setup.project)
    say(
        f"Region {settings.region} ({EU_REGIONS[settings.region]}), bucket s3://{settings.the_bucket}/{settings.prefix}"
    )
    if found is not None:
        say(f"The cluster costs {setup.hourly()}.")
        say(setup.prices.note)
    if not settings.budget_email:
        say("No budget alarm: give --budget-email, or budget_email in conf/cloud/emr.yml, to be warned by mail.")
    if setup.dry_run:
        _show_deploy(setup, found)
        return
    confirm(f"Start cluster {settings.name}?" if found else "Make the bucket? It costs what is stored in it.", yes)
    cloudformation = setup.client("cloudformation")
    storage = _put(setup, cloudformation, "storage", {})
    if settings.budget_email:
        region = settings.region if settings.region in BUDGET_REGIONS else BUDGET_REGIONS[0]
        _put(setup, setup.client("cloudformation", region), "budget", {})
    if found is None:
        say(f"The bucket s3://{settings.the_bucket} is there. Next: {setup.command('upload', 'IMAGES')}")
        return
    send(setup, artifact_group(settings, found))
    _start_cluster(setup, cloudformation, found, storage)


def _check_template_parameters(setup: Setup) -> None:
    """Refuses names that no template knows: a misspelt RawDays must not keep photographs for ever.

    Raises:
        InputError: With the name that was probably meant.
    """
    settings = setup.settings
    templates = sorted((setup.project / settings.artifacts.templates).glob("*.yaml"))
    known = {name for path in templates for name in stack.template_parameters(stack.read_template(path))}
    for name in sorted(set(settings.template_parameters) - known):
        meant = get_close_matches(name, known, n=1)
        hint = f" Did you mean {meant[0]}?" if meant else ""
        raise InputError(f"template_parameters in conf/cloud/emr.yml: no template has a parameter {name}.{hint}")


def _start_cluster(setup: Setup, cloudformation: Any, found: files.Artifacts, storage: stack.Stack) -> None:
    settings = setup.settings
    values = {**_cluster_values(settings, found, _cluster_name(setup, cloudformation)), **storage.outputs}
    made = _put(setup, cloudformation, "cluster", values)
    say(f"Cluster {made.outputs.get('ClusterId', '?')} stands and costs {setup.hourly()}.")
    idle = settings.cluster.idle_minutes
    say(f"After {idle} idle minutes it ends itself; its disk key (1 USD a month) stays until you end all of it:")
    say(f"  {setup.command('terminate')}")
    say(f"Next: {setup.command('submit', '--watch')}")


def _show_deploy(setup: Setup, found: files.Artifacts | None) -> None:
    settings, operation = setup.settings, "create_stack (update_stack if it is there)"
    for part in ("storage", *(["budget"] if settings.budget_email else [])):
        show_call("cloudformation", operation, _request(setup, part, {}))
    if found is not None:
        show_uploads(setup, artifact_group(settings, found))
        from_storage = {"DataAccessPolicyArn": f"<output of {settings.stack('storage')}>"}
        values = {**_cluster_values(settings, found, settings.name), **from_storage}
        show_call("cloudformation", operation, _request(setup, "cluster", values))


def _request(setup: Setup, part: str, values: Mapping[str, str]) -> dict[str, Any]:
    settings = setup.settings
    path = setup.project / settings.artifacts.templates / f"{part}.yaml"
    template = stack.read_template(path)
    known: dict[str, str | None] = {
        "BucketName": settings.the_bucket,
        "Prefix": settings.prefix,
        "ReleaseLabel": settings.cluster.release,
        "BudgetAmount": f"{settings.budget_usd:g}",
        "BudgetEmail": settings.budget_email,
    }
    chosen = stack.select_parameters(template, {**known, **values, **settings.template_parameters}, path.name)
    return stack.stack_request(settings.stack(part), template, chosen)


def _cluster_values(settings: EmrSettings, found: files.Artifacts, name: str) -> dict[str, str]:
    """Parameters of cluster.yaml that the settings and the packaged files decide."""
    cluster = settings.cluster
    return {
        "ClusterName": name,
        "Wheel": found.wheel.name,
        "Wheelhouse": "yes" if found.wheelhouse else "no",
        "PrimaryRequirements": found.primary_requirements.name if found.primary_requirements else "",
        "ProjectArchive": found.project.name if found.project else "",
        "PrimaryType": cluster.primary_type,
        "NodeSize": cluster.node_size,
        "CoreNodes": str(cluster.core_nodes),
        "TaskNodes": str(cluster.task_nodes),
        "TaskMarket": "SPOT" if cluster.spot else "ON_DEMAND",
        "MaxNodes": str(cluster.max_nodes),
        "VolumeGb": str(cluster.volume_gb),
        "IdleSeconds": str(cluster.idle_minutes * 60),
    }


def _cluster_name(setup: Setup, cloudformation: Any) -> str:
    """The cluster's name: a stack whose cluster has ended itself gets a new one only under another name."""
    old = stack.find_stack(cloudformation, setup.settings.stack("cluster"))
    if old is None or "ClusterId" not in old.outputs:
        return setup.settings.name
    before = steps.describe_cluster(setup.client("emr"), old.outputs["ClusterId"])
    if before.is_alive:
        say(f"Cluster {before.id} stands already ({before.state}); some changes make CloudFormation replace it.")
        return old.parameters.get("ClusterName", setup.settings.name)
    say(f"Cluster {before.id} has ended ({before.reason or before.state}); starting another.")
    return f"{setup.settings.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def _put(setup: Setup, cloudformation: Any, part: str, values: Mapping[str, str]) -> stack.Stack:
    """Makes one stack, with its cost on record from before the first request."""
    request = _request(setup, part, values)
    name = request["StackName"]
    say(f"Stack {name} …")
    cost = (
        setup.hourly()
        if part == "cluster"
        else "nothing but what is stored in its bucket"
        if part == "storage"
        else "nothing"
    )
    remove = setup.command("terminate", *(["--delete-data"] if part == "storage" else []))
    if part == "budget":
        remove = f"aws cloudformation delete-stack --region {cloudformation.meta.region_name} --stack-name {name}"
    setup.remains.add(Thing(f"stack {name}", cost, remove, lambda: status_of(cloudformation, name)))
    return stack.put_stack(cloudformation, request)


def status_of(cloudformation: Any, name: str) -> str | None:
    """What CloudFormation says of a stack; None if it is not there, or no more."""
    found = stack.find_stack(cloudformation, name)
    return None if found is None or found.status == stack.GONE else found.status


def actual(settings: EmrSettings, found: stack.Stack) -> EmrSettings:
    """The settings with the size that a cluster's stack really has."""
    names = {
        "primary_type": "PrimaryType",
        "node_size": "NodeSize",
        "core_nodes": "CoreNodes",
        "task_nodes": "TaskNodes",
        "max_nodes": "MaxNodes",
        "volume_gb": "VolumeGb",
    }
    update: dict[str, Any] = {ours: found.parameters[its] for ours, its in names.items() if its in found.parameters}
    if "TaskMarket" in found.parameters:
        update["spot"] = found.parameters["TaskMarket"] == "SPOT"
    cluster = type(settings.cluster).model_validate({**settings.cluster.model_dump(), **update})
    return settings.model_copy(update={"cluster": cluster})


def clone(setup: Setup, new_name: str, yes: bool) -> None:
    """Starts a second cluster with the template and the parameters of the first."""
    settings, name = setup.settings, f"{new_name}-cluster"
    if new_name == settings.name:
        raise InputError(f"{new_name} is the name of the cluster that is to be cloned. Give another one.")
    if setup.dry_run:
        source = f"<of {settings.stack('cluster')}, with ClusterName={new_name}>"
        show_call("cloudformation", "create_stack", {"StackName": name, "TemplateBody": source, "Parameters": source})
        return
    cloudformation = setup.client("cloudformation")
    source_stack = cluster_stack(setup, cloudformation)
    if status_of(cloudformation, name) is not None:
        raise InputError(f"There is a stack {name} already. Give another name, or kedro emr deploy --name={new_name}.")
    costs = setup.hourly()
    say(f"A second cluster beside {settings.name} costs {costs}, additionally.")
    confirm(f"Start cluster {new_name}?", yes)
    template = cloudformation.get_template(StackName=source_stack.name)["TemplateBody"]
    parameters = {**source_stack.parameters, "ClusterName": new_name}
    other = Setup(
        settings, setup.project, setup.conf_source, setup.env, False, setup.program, {**setup.given, "name": new_name}
    )
    setup.remains.add(
        Thing(f"stack {name}", costs, other.command("terminate"), lambda: status_of(cloudformation, name))
    )
    made = stack.put_stack(cloudformation, stack.stack_request(name, template, parameters))
    say(f"Cluster {made.outputs.get('ClusterId', '?')} stands and costs {costs}. Then: {other.command('terminate')}")


def cluster_stack(setup: Setup, cloudformation: Any) -> stack.Stack:
    """The stack of the cluster; from now on `setup` knows its real size.

    Raises:
        InputError: If there is none, or it has no cluster.
    """
    name = setup.settings.stack("cluster")
    found = stack.find_stack(cloudformation, name)
    if found is None or "ClusterId" not in found.outputs:
        what = f"is {found.status}, without a cluster" if found else "does not exist"
        raise InputError(f"Stack {name} {what}. Start one: {setup.command('deploy')}")
    setup.built = actual(setup.settings, found)
    return found
