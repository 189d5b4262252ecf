"""How long a run will take and what it will cost, before anything is started. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fruits_pipeline.emr.prices import PriceTable, cluster_hourly, money
from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import File
from fruits_pipeline.s3 import EU_REGIONS

MILLION = 1_000_000


@dataclass(frozen=True)
class Workload:
    """What is to be done.

    Attributes:
        images: How many.
        size: Bytes of all of them.
        others: Files that are no images, or hidden.
    """

    images: int
    size: int
    others: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a number of nodes makes of a workload.

    Attributes:
        images: Of the workload.
        nodes: Core and task nodes.
        images_per_second: Of the whole cluster, while it works on images.
        image_minutes: Working on images.
        minutes: From `deploy` to the end of the run.
        on_demand: USD, all nodes on-demand.
        spot: USD, with Spot task nodes.
    """

    images: int
    nodes: int
    images_per_second: float
    image_minutes: float
    minutes: float
    on_demand: float
    spot: float


def count_images(pages: Iterable[list[File]], extensions: Iterable[str]) -> Workload:
    """Counts and sizes what a run would featurise.

    Args:
        pages: As `fruits_pipeline.listing.list_files` yields them.
        extensions: Lower case, without dots.

    Returns:
        The workload.
    """
    endings = tuple(f".{extension}" for extension in extensions)
    images = size = others = 0
    for page in pages:
        for file in page:
            if file.hidden or not file.path.lower().endswith(endings):
                others += 1
            else:
                images, size = images + 1, size + file.length
    return Workload(images, size, others)


def estimate(images: int, per_core: float, nodes: int, settings: EmrSettings, prices: PriceTable) -> Estimate:
    """Estimates time and cost of one run on a new cluster.

    Args:
        images: How many.
        per_core: Images a second of one core of the machine that measured.
        nodes: Core and task nodes.
        settings: Machines, region and assumptions.
        prices: The table.

    Returns:
        The estimate; starting the nodes is paid for too.
    """
    assumed = settings.assumptions
    vcpus = nodes * prices.vcpus(settings.cluster.node_type)
    per_second = vcpus * per_core * assumed.speed_per_vcpu * assumed.efficiency
    image_minutes = images / per_second / 60
    minutes = assumed.startup_minutes + assumed.fixed_minutes + image_minutes
    on_demand, spot = (minutes / 60 * cluster_hourly(settings, prices, nodes, kind) for kind in (False, True))
    return Estimate(images, nodes, per_second, image_minutes, minutes, on_demand, spot)


def nodes_within(images: int, per_core: float, minutes: float, settings: EmrSettings, prices: PriceTable) -> int:
    """The fewest nodes that finish in time.

    Args:
        images: How many.
        per_core: As for `estimate`.
        minutes: From `deploy` to the end of the run.
        settings: `cluster.max_nodes` is the limit.
        prices: The table.

    Returns:
        Core and task nodes, at least the smallest cluster's.

    Raises:
        InputError: If even the largest cluster that the settings allow takes longer.
    """
    assumed, cluster = settings.assumptions, settings.cluster
    left = minutes - assumed.startup_minutes - assumed.fixed_minutes  # above 0, or the check below fails
    most = estimate(images, per_core, cluster.max_nodes, settings, prices)
    if most.minutes > minutes:
        raise InputError(
            f"{images:,} images cannot be done within {minutes:g} minutes: {cluster.max_nodes} nodes "
            f"({cluster.node_type}) take {most.minutes:.0f}, of which {assumed.startup_minutes:g} are for starting and "
            f"{assumed.fixed_minutes:g} for listing, PCA and reports. Allow more time, more nodes (--max-nodes) or "
            "larger ones (--node-size)."
        )
    one = estimate(images, per_core, 1, settings, prices)
    wanted = math.ceil(one.image_minutes / left - 1e-9) if images else 0  # 6.0000000001 nodes are 6
    return min(max(wanted, fewest_nodes(settings)), cluster.max_nodes)


def fewest_nodes(settings: EmrSettings) -> int:
    """The smallest cluster: EMR takes no task fleet without a node."""
    return settings.cluster.core_nodes + 1


def serverless_usd(images: int, per_core: float, settings: EmrSettings, prices: PriceTable) -> float | None:
    """USD of one run on EMR Serverless, without what its driver costs; None if the table has no price for the region.

    Starting costs nothing there, and one worker more or less changes the time, not the price.
    """
    price, assumed = prices.serverless.get(settings.region), settings.assumptions
    if price is None:
        return None
    vcpu_hours = images / (per_core * assumed.speed_per_vcpu * assumed.efficiency) / 3600
    fixed_hours = assumed.fixed_minutes / 60 * 4  # a driver of 4 vCPU
    return (vcpu_hours + fixed_hours) * (price.vcpu + assumed.memory_per_vcpu_gb * price.memory_gb)


def check_cost(found: Estimate, limit_eur: float | None, prices: PriceTable) -> None:
    """Refuses a plan that is too expensive even if no Spot instance is to be had.

    Raises:
        InputError: With the price of both kinds.
    """
    if limit_eur is None or found.on_demand * prices.eur_per_usd <= limit_eur:
        return
    raise InputError(
        f"Too expensive: {money(found.on_demand, prices)} on-demand ({money(found.spot, prices)} with Spot task nodes, "
        f"as noted), and --max-cost is {limit_eur:,.2f} EUR. Spot prices are no promise, so the limit holds for "
        "on-demand. Take fewer images, a longer --within, or a higher --max-cost."
    )


def describe(
    found: Estimate, workload: Workload, per_core: float, settings: EmrSettings, prices: PriceTable
) -> list[str]:
    """The plan as lines of text.

    Args:
        found: Of the whole workload.
        workload: Counted.
        per_core: Images a second of one core here.
        settings: Machines and region.
        prices: The table.

    Returns:
        Lines.
    """
    cluster, assumed = settings.cluster, settings.assumptions
    task = found.nodes - min(found.nodes, cluster.core_nodes)
    return [
        f"Images    {workload.images:,} ({size_text(workload.size)}); {workload.others:,} other files are left out",
        f"Encoder   {per_core:.0f} images/s on one core of this machine",
        f"Cluster   {settings.region} ({EU_REGIONS[settings.region]}): primary {cluster.primary_type}, "
        f"{found.nodes - task} core + {task} task nodes {cluster.node_type}, "
        f"together {found.images_per_second:.0f} images/s",
        f"Time      {found.minutes:.0f} min = {assumed.startup_minutes:g} to start + {assumed.fixed_minutes:g} for "
        f"listing, PCA and reports + {found.image_minutes:.1f} for the images",
        "",
        *_price_table(found, per_core, settings, prices),
        "",
        _storage(workload, prices),
        f"Assumed: a vCPU does {assumed.speed_per_vcpu:.0%} of a core here, {assumed.efficiency:.0%} of the time goes "
        "to images (conf emr.yml).",
        prices.note,
    ]


def _price_table(found: Estimate, per_core: float, settings: EmrSettings, prices: PriceTable) -> list[str]:
    million = estimate(MILLION, per_core, found.nodes, settings, prices)
    rows = [("", "an hour", "this run", "a million images")]
    for name, spot in (("on-demand", False), ("Spot task nodes", True)):
        hourly = money(cluster_hourly(settings, prices, found.nodes, spot), prices)
        total, each = (part.spot if spot else part.on_demand for part in (found, million))
        rows.append((name, hourly, money(total, prices), f"{money(each, prices)}, {million.minutes:.0f} min"))
    run, each_million = (serverless_usd(n, per_core, settings, prices) for n in (found.images, MILLION))
    if run is not None and each_million is not None:
        rows.append(("EMR Serverless", "–", money(run, prices), money(each_million, prices)))
    return [f"{name:<16}{hourly:>14}{total:>16}{each:>26}" for name, hourly, total, each in rows]


def _storage(workload: Workload, prices: PriceTable) -> str:
    upload = workload.images / 1000 * prices.s3_put_1000
    reading = workload.images / 1000 * prices.s3_get_1000
    month = workload.size / 1e9 * prices.s3_gb_month
    return (
        f"S3: {money(upload, prices)} to upload these images, {money(reading, prices)} to read them once, "
        f"{money(month, prices)} a month to keep them."
    )


def size_text(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
