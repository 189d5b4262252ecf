"""`kedro emr plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fruits_pipeline.emr import plan, speed
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.commands.setup import Setup
from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import list_files
from fruits_pipeline.parameters import EncoderParameters, FeaturizationParameters


def plan_run(
    setup: Setup,
    images: str,
    params: str,
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
    per_core = images_per_second or _measured(setup, sample, params)
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


def _measured(setup: Setup, paths: Sequence[str], params: str) -> float:
    if not paths:
        raise InputError("There are no images there. Give another folder.")
    where = setup.conf_source, setup.env, params
    parameters = speed.read_parameters(EncoderParameters, "encoder", *where)
    encoder = speed.local_encoder(setup.project / setup.settings.artifacts.encoders, parameters)
    batch_size = speed.read_parameters(FeaturizationParameters, "featurization", *where).batch_size
    measured = speed.measure(speed.spread(paths, speed.SAMPLE), encoder, batch_size)
    say(f"Measured on {measured.images} of the images: {measured.encoder}")
    return measured.per_second
