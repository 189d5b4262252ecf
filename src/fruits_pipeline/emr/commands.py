"""What the commands of `kedro emr` do; `cli` declares them."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import click

from fruits_pipeline.emr import artifacts as files
from fruits_pipeline.emr import aws, checks, leftovers, plan, prices, speed, stack, steps, tunnels
from fruits_pipeline.emr import upload as uploads
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.remains import Remains, Thing
from fruits_pipeline.emr.settings import EmrSettings, load_settings, read_conf
from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import list_files
from fruits_pipeline.parameters import EncoderParameters
from fruits_pipeline.s3 import EU_REGIONS

BUDGET_REGIONS: Final = ("eu-central-1", "eu-west-1", "eu-west-3")
"""Where CloudFormation knows AWS::Budgets::Budget; the budget itself belongs to the account, not to a region."""


@dataclass
class Setup:
    """What every command has.

    Attributes:
        settings: Typed.
        project: Its folder.
        conf_source: Its configuration.
        env: Of the configuration.
        dry_run: Print what would be called, and call nothing.
        program: How the user calls this group, for commands that are shown to be copied.
        given: The general options that the user gave, by name, to be repeated in such commands.
        remains: What this command has begun at AWS.
        built: The settings with the size that the cluster of the stack really has, once it was looked up.
    """

    settings: EmrSettings
    project: Path
    conf_source: Path
    env: str
    dry_run: bool
    program: str
    given: Mapping[str, str]
    remains: Remains = field(default_factory=Remains)
    built: EmrSettings | None = None

    @cached_property
    def prices(self) -> prices.PriceTable:
        """The price table."""
        return prices.load_prices(self.conf_source, self.env)

    def client(self, service: str, region: str | None = None) -> Any:
        """A client of a service, in the settings' region unless another is named."""
        settings = self.settings if region is None else self.settings.model_copy(update={"region": region})
        return aws.client(service, settings)

    def command(self, *words: str) -> str:
        """A command of this group to be copied, with the options that this one was given."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self.given.items()]
        return f"{self.program} {shlex.join([*words, *options])}"

    def hourly(self, settings: EmrSettings | None = None) -> str:
        """What the cluster costs while it stands, in words."""
        chosen = settings or self.built or self.settings
        cluster = chosen.cluster
        try:
            low, high = (
                prices.cluster_hourly(chosen, self.prices, cluster.nodes, spot) for spot in (cluster.spot, False)
            )
            most = prices.cluster_hourly(chosen, self.prices, max(cluster.max_nodes, cluster.nodes), False)
        except InputError as error:
            return f"an unknown amount an hour ({error})"
        low_text, high_text, most_text = (prices.money(value, self.prices) for value in (low, high, most))
        span = low_text if low_text == high_text else f"{low_text} (Spot as noted) to {high_text} (on-demand)"
        return f"{span} an hour with {cluster.nodes} nodes; {most_text} at most, if it scales to {cluster.max_nodes}"


def make_setup(
    program: str,
    project: Path,
    conf_source: Path,
    env: str,
    dry_run: bool,
    given: Mapping[str, str],
    options: Mapping[str, Any],
) -> Setup:
    """Reads the settings.

    Raises:
        InputError: If they are not there or wrong.
    """
    general = {name: value for name, value in given.items() if name in ("name", "region", "bucket", "prefix")}
    settings = load_settings(conf_source, env, {**general, **options})
    return Setup(settings, project, conf_source, env, dry_run, program, given)


# ---- plan ------------------------------------------------------------------------------------------------------------


def plan_run(
    setup: Setup,
    images: str,
    images_per_second: float | None,
    nodes: int | None,
    within: float | None,
    max_cost: float | None,
) -> None:
    """Counts, measures, and says what a run will take and cost."""
    if nodes is not None and nodes < plan.fewest_nodes(setup.settings):
        raise InputError(
            f"The smallest cluster has {plan.fewest_nodes(setup.settings)} nodes: --nodes={nodes} is too few."
        )
    if nodes and within:
        raise InputError("Give --nodes or --within, not both: one follows from the other.")
    if setup.dry_run and images.startswith("s3"):
        show_call("s3", "list_objects_v2", {"Prefix": images})
        return
    _check_folder(images)
    settings = setup.settings
    extensions = speed.extensions(setup.conf_source, setup.env)
    workload, sample = _count(images, extensions)
    per_core = images_per_second or _measured(setup, sample)
    if within:
        nodes = plan.nodes_within(workload.images, per_core, within, settings, setup.prices)
    found = plan.estimate(workload.images, per_core, nodes or settings.cluster.nodes, settings, setup.prices)
    for line in plan.describe(found, workload, per_core, settings, setup.prices):
        say(line)
    plan.check_cost(found, max_cost, setup.prices)
    tasks = f"--task-nodes={found.nodes - settings.cluster.core_nodes}"
    say(f"To do it: {setup.command('deploy', tasks)}")


def _check_folder(images: str) -> None:
    if "://" not in images and not Path(images).is_dir():
        raise InputError(f"The images folder {images} does not exist. Give the folder that holds one folder per label.")


def _count(images: str, extensions: Sequence[str]) -> tuple[plan.Workload, list[str]]:
    """The workload, and the first files of many, from which the sample to measure is taken."""
    paths: list[str] = []

    def pages() -> Any:
        for page in list_files(images if "://" in images else str(Path(images).resolve())):
            paths.extend(file.path for file in page if len(paths) < 100_000 and _is_image(file.path, extensions))
            yield page

    return plan.count_images(pages(), extensions), paths


def _is_image(path: str, extensions: Sequence[str]) -> bool:
    return path.lower().endswith(tuple(f".{extension}" for extension in extensions))


def _measured(setup: Setup, paths: Sequence[str]) -> float:
    if not paths:
        raise InputError("There are no images there. Give another folder.")
    parameters = speed.encoder_parameters(setup.conf_source, setup.env)
    encoder = speed.local_encoder(setup.project / setup.settings.artifacts.encoders, parameters)
    measured = speed.measure(speed.spread(paths, speed.SAMPLE), encoder)
    say(f"Measured on {measured.images} of the images: {measured.encoder}")
    return measured.per_second


# ---- check -----------------------------------------------------------------------------------------------------------

_CHECK_CALLS: Final = (
    ("sts", "get_caller_identity"),
    ("service-quotas", "get_service_quota"),
    ("s3", "head_bucket"),
    ("s3", "get_public_access_block"),
    ("s3", "get_bucket_encryption"),
    ("s3", "put_object, list_objects_v2, get_object, delete_object"),
)


def check(setup: Setup) -> bool:
    """Looks at everything; whether nothing failed."""
    if setup.dry_run:
        for service, operations in _CHECK_CALLS:
            show_call(service, operations, {"Bucket": setup.settings.the_bucket} if service == "s3" else {})
        return True
    outcomes = checks.run_checks(_check_groups(setup), lambda found: say(str(found)))
    wrong = sum(found.state is checks.State.FAILED for found in outcomes)
    say(f"{wrong} to mend" if wrong else "All that can be seen from here is as it must be.")
    return not wrong


def _check_groups(setup: Setup) -> list[list[tuple[str, checks.Finding]]]:
    settings, project = setup.settings, setup.project
    s3 = setup.client("s3")
    wanted: Callable[[], EncoderParameters] = lambda: speed.encoder_parameters(setup.conf_source, setup.env)  # noqa: E731
    return [
        [("region", lambda: checks.check_region(settings)), ("Python", lambda: checks.check_python(settings))],
        [
            ("credentials", lambda: checks.check_credentials(setup.client("sts"))),
            ("quotas", lambda: checks.check_quota(setup.client("service-quotas"), settings, setup.prices)),
        ],
        [
            ("bucket", lambda: checks.check_bucket(s3, settings)),
            ("public access", lambda: checks.check_public_access(s3, settings)),
            ("encryption", lambda: checks.check_encryption(s3, settings)),
            ("S3 from Python (boto3, s3fs, obstore)", lambda: checks.check_python_s3(s3, settings)),
            ("S3 from Spark (S3A)", lambda: checks.check_spark_s3(settings)),
            (
                "artifacts",
                lambda: checks.check_artifacts(s3, settings, lambda: files.find_artifacts(settings, project)),
            ),
            ("encoder", lambda: checks.check_encoder(s3, settings, wanted())),
        ],
    ]


# ---- deploy, clone ---------------------------------------------------------------------------------------------------


def deploy(setup: Setup, yes: bool, storage_only: bool) -> None:
    """Makes or updates bucket and budget, and the cluster unless only the storage is wanted."""
    settings = setup.settings
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
    _confirm(f"Start cluster {settings.name}?" if found else "Make the bucket? It costs what is stored in it.", yes)
    cloudformation = setup.client("cloudformation")
    storage = _put(setup, cloudformation, "storage", {})
    if settings.budget_email:
        region = settings.region if settings.region in BUDGET_REGIONS else BUDGET_REGIONS[0]
        _put(setup, setup.client("cloudformation", region), "budget", {})
    if found is None:
        say(f"The bucket s3://{settings.the_bucket} is there. Next: {setup.command('upload', 'IMAGES')}")
        return
    _send(setup, _artifact_group(settings, found))
    _start_cluster(setup, cloudformation, found, storage)


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
        _show_uploads(setup, _artifact_group(settings, found))
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
    setup.remains.add(Thing(f"stack {name}", cost, remove, lambda: _status(cloudformation, name)))
    return stack.put_stack(cloudformation, request)


def _status(cloudformation: Any, name: str) -> str | None:
    found = stack.find_stack(cloudformation, name)
    return None if found is None or found.status == stack.GONE else found.status


def _confirm(question: str, yes: bool) -> None:
    if not yes and not click.confirm(question, default=False):
        raise InputError("Nothing was started.")


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
    source_stack = _cluster_stack(setup, cloudformation)
    if _status(cloudformation, name) is not None:
        raise InputError(f"There is a stack {name} already. Give another name, or kedro emr deploy --name={new_name}.")
    costs = setup.hourly()
    say(f"A second cluster beside {settings.name} costs {costs}, additionally.")
    _confirm(f"Start cluster {new_name}?", yes)
    template = cloudformation.get_template(StackName=source_stack.name)["TemplateBody"]
    parameters = {**source_stack.parameters, "ClusterName": new_name}
    other = Setup(
        settings, setup.project, setup.conf_source, setup.env, False, setup.program, {**setup.given, "name": new_name}
    )
    setup.remains.add(Thing(f"stack {name}", costs, other.command("terminate"), lambda: _status(cloudformation, name)))
    made = stack.put_stack(cloudformation, stack.stack_request(name, template, parameters))
    say(f"Cluster {made.outputs.get('ClusterId', '?')} stands and costs {costs}. Then: {other.command('terminate')}")


def _cluster_stack(setup: Setup, cloudformation: Any) -> stack.Stack:
    name = setup.settings.stack("cluster")
    found = stack.find_stack(cloudformation, name)
    if found is None or "ClusterId" not in found.outputs:
        what = f"is {found.status}, without a cluster" if found else "does not exist"
        raise InputError(f"Stack {name} {what}. Start one: {setup.command('deploy')}")
    setup.built = actual(setup.settings, found)
    return found


# ---- upload ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Files that go together: what they are, where they go, and a way to go through them as often as needed."""

    name: str
    folders: tuple[str, ...]
    items: Callable[[], Iterable[files.Item]]


def _artifact_group(settings: EmrSettings, found: files.Artifacts, but: Sequence[Path] = ()) -> _Group:
    items = [item for item in found.items(settings) if item.path not in but]
    return _Group("artifacts", (files.FOLDER, files.ENCODERS), lambda: items)


def upload(setup: Setup, images: Path | None, with_artifacts: bool) -> None:
    """Sends artifacts, and images if a folder is given."""
    settings = setup.settings
    if images is None and not with_artifacts:
        raise InputError("There is nothing to upload: name a folder of images, or leave out --no-artifacts.")
    groups = [_artifact_group(settings, files.find_artifacts(settings, setup.project))] if with_artifacts else []
    if images is not None:
        groups.append(_Group("images", (files.RAW,), lambda: files.image_items(images, settings)))
    for group in groups:
        if setup.dry_run:
            _show_uploads(setup, group)
        else:
            _send(setup, group)


def _show_uploads(setup: Setup, group: _Group) -> None:
    """The first few of many; which are there already cannot be known without asking."""
    for item in itertools.islice(group.items(), 5):
        arguments = {"Filename": str(item.path), "Bucket": setup.settings.the_bucket, "Key": item.key}
        show_call("s3", "upload_file (unless it is there)", arguments)
    total = uploads.total(group.items())
    say(f"… and so on: {total.files:,} {group.name}, {plan.size_text(total.size)}")


def _send(setup: Setup, group: _Group) -> None:
    """Uploads what is not there; how far it came is on record, should somebody interrupt it."""
    from fruits_pipeline.emr.transfer import Bar

    bucket, total = setup.settings.the_bucket, uploads.total(group.items())
    s3, outcome = setup.client("s3"), uploads.Outcome()

    def state() -> str:
        there = outcome.uploaded + outcome.skipped
        return f"{there:,} of {total.files:,} files are there; the same command again sends the rest"

    remove = setup.command("terminate", "--delete-data")
    thing = Thing(f"{group.name} in s3://{bucket}", "what S3 takes for storage", remove, state)
    setup.remains.add(thing)
    present = uploads.list_folders(s3, bucket, [setup.settings.key(folder, "") for folder in group.folders])
    with Bar(f"uploading {group.name}", total) as bar:
        uploads.upload(s3, bucket, group.items(), present, bar.tell, outcome)
    size, skipped = plan.size_text(outcome.size), outcome.skipped
    say(f"{group.name}: {outcome.uploaded:,} files uploaded ({size}), {skipped:,} were there already")
    if outcome.failed:
        shown = "\n".join(outcome.failed[:10])
        raise InputError(f"{len(outcome.failed):,} files could not be read and are not in the bucket:\n{shown}")
    setup.remains.forget(thing.name)


# ---- submit, watch ---------------------------------------------------------------------------------------------------


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
    cluster = _living_cluster(setup, emr, cluster_id)
    if not old_code:
        _check_code(setup, cluster, found)
    _send(setup, _artifact_group(settings, found, but=found.of_nodes))
    request = steps.step_request(cluster.id, settings, found, spark, params, pipelines, setup.env)
    setup.remains.add(_cluster_thing(setup, emr, cluster))
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


def _living_cluster(setup: Setup, emr: Any, cluster_id: str | None) -> steps.Cluster:
    chosen = cluster_id or _cluster_stack(setup, setup.client("cloudformation")).outputs["ClusterId"]
    cluster = steps.describe_cluster(emr, chosen)
    if not cluster.is_alive:
        why = cluster.reason or cluster.state
        raise InputError(f"Cluster {cluster.id} has ended ({why}). Start another: {setup.command('deploy')}")
    return cluster


def _cluster_thing(setup: Setup, emr: Any, cluster: steps.Cluster) -> Thing:
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
    chosen = cluster_id or _cluster_stack(setup, setup.client("cloudformation")).outputs["ClusterId"]
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
        setup.remains.add(_cluster_thing(setup, emr, cluster))


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


# ---- ui --------------------------------------------------------------------------------------------------------------


def ui(setup: Setup, names: Sequence[str], cluster_id: str | None, start: bool) -> None:
    """Shows, or runs, the port-forwards to the cluster's pages."""
    pages = [tunnels.PAGES[name] for name in names or tunnels.PAGES]
    if setup.dry_run:
        nobody = tunnels.Primary("<primary node>", "<its private name>")
        for line in tunnels.describe(pages, nobody, setup.settings):
            say(line)
        return
    emr = setup.client("emr")
    cluster = _living_cluster(setup, emr, cluster_id)
    primary = tunnels.find_primary(emr, cluster.id)
    for line in tunnels.describe(pages, primary, setup.settings):
        say(line)
    say("A notebook with an open Spark session keeps the cluster from ending itself: shut its kernel down.")
    if start:
        setup.remains.add(_cluster_thing(setup, emr, cluster))
        tunnels.open_pages(pages, primary, setup.settings)


# ---- terminate -------------------------------------------------------------------------------------------------------


def terminate(setup: Setup, yes: bool, delete_data: bool) -> bool:
    """Takes cluster and serverless application down, and shows what is left; whether nothing of ours runs."""
    settings = setup.settings
    if setup.dry_run:
        _show_terminate(setup, delete_data)
        return True
    cloudformation = setup.client("cloudformation")
    found = [stack.find_stack(cloudformation, settings.stack(part)) for part in ("cluster", "serverless")]
    ours = [one for one in found if one is not None and one.status != stack.GONE]
    if ours:
        _confirm(f"End {', '.join(one.name for one in ours)}? Steps that run there are lost.", yes)
    for one in ours:
        _take_down(setup, cloudformation, one)
    if delete_data:
        _delete_data(setup, cloudformation)
    return _show_leftovers(setup, cloudformation)


def _show_terminate(setup: Setup, delete_data: bool) -> None:
    settings = setup.settings
    for part in ("cluster", "serverless"):
        show_call("cloudformation", "delete_stack (if it is there)", {"StackName": settings.stack(part)})
    if delete_data:
        show_call("s3", "delete_objects (all versions)", {"Bucket": settings.the_bucket})
        show_call("cloudformation", "delete_stack", {"StackName": settings.stack("storage")})
        show_call("s3", "delete_bucket", {"Bucket": settings.the_bucket})
    show_call("emr", "list_clusters", {"ClusterStates": [*steps.ALIVE, "TERMINATING"]})
    show_call("emr-serverless", "list_applications", {"states": list(leftovers.APPLICATION_STATES)})


def _take_down(setup: Setup, cloudformation: Any, one: stack.Stack) -> None:
    cost = setup.hourly(actual(setup.settings, one)) if one.name.endswith("-cluster") else "what its running jobs need"
    thing = Thing(f"stack {one.name}", cost, setup.command("terminate"), lambda: _status(cloudformation, one.name))
    setup.remains.add(thing)
    say(f"Ending stack {one.name} …")
    if "ApplicationId" in one.outputs:
        _stop_application(setup, one.outputs["ApplicationId"])
    stack.delete_stack(cloudformation, one)
    setup.remains.forget(thing.name)


def _stop_application(setup: Setup, application: str) -> None:
    """A started application cannot be deleted; one that is gone needs no stopping."""
    serverless = setup.client("emr-serverless")
    try:
        serverless.stop_application(applicationId=application)
        while serverless.get_application(applicationId=application)["application"]["state"] == "STOPPING":
            aws.pause(stack.POLL_SECONDS)
    except Exception as error:
        if aws.error_code(error) not in ("ResourceNotFoundException", "ValidationException"):
            raise


def _delete_data(setup: Setup, cloudformation: Any) -> None:
    """All images, features and reports, in all versions, and the bucket itself."""
    settings = setup.settings
    bucket = settings.the_bucket
    s3 = setup.client("s3")
    if leftovers.stored(s3, bucket) is None:
        say(f"There is no bucket {bucket}.")
        return
    say(f"This deletes everything in s3://{bucket}, images and features, in all versions. It cannot be undone.")
    if click.prompt("Type the name of the bucket") != bucket:
        raise InputError("Nothing was deleted: that is not the bucket's name.")
    remove = setup.command("terminate", "--delete-data")
    thing = Thing(f"bucket {bucket}", "what S3 takes for storage", remove, lambda: "partly deleted")
    setup.remains.add(thing)
    count = leftovers.empty_bucket(s3, bucket, lambda done: say(f"  {done:,} versions deleted"))
    storage = stack.find_stack(cloudformation, settings.stack("storage"))
    if storage is not None and storage.status != stack.GONE:
        stack.delete_stack(cloudformation, storage)
    if leftovers.stored(s3, bucket) is not None:
        s3.delete_bucket(Bucket=bucket)
    setup.remains.forget(thing.name)
    say(f"{count:,} versions and the bucket are deleted.")


def _show_leftovers(setup: Setup, cloudformation: Any) -> bool:
    """What runs in the region and what is stored; whether none of what runs is ours."""
    settings = setup.settings
    running = [
        *leftovers.active_clusters(setup.client("emr")),
        *leftovers.applications(setup.client("emr-serverless")),
    ]
    ours = [one for one in running if one.name == settings.name or one.name.startswith(f"{settings.name}-")]
    say(f"Left in {settings.region}:")
    for one in running:
        say(f"  {'✗' if one in ours else '–'} {one}{'' if one in ours else ' – of another name, left alone'}")
    if not running:
        say("  ✓ no cluster and no serverless application")
    say(f"  – {_bucket_line(setup)}")
    for part in ("storage", "budget"):
        if _status(cloudformation, settings.stack(part)) is not None:
            say(f"  – stack {settings.stack(part)}: costs nothing by itself")
    if settings.bucket and not ours:
        say(f"To delete the data too: {setup.command('terminate', '--delete-data')}")
    return not ours


def _bucket_line(setup: Setup) -> str:
    bucket = setup.settings.bucket
    if bucket is None:
        return "no bucket named (FRUITS_BUCKET or --bucket), so none was looked at"
    return leftovers.describe_stored(bucket, leftovers.stored(setup.client("s3"), bucket), setup.prices)
