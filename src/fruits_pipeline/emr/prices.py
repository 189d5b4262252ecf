"""What machines cost: the dated price table `conf/<env>/prices.yml`, noted by hand."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fruits_pipeline.emr.settings import EmrSettings, read_conf, validated
from fruits_pipeline.errors import InputError

HOURS_PER_MONTH = 730.0
"""As AWS counts months of storage (365 days · 24 hours / 12)."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Family(_Table):
    """One family of instances; prices of its `.xlarge` in USD an hour.

    Attributes:
        vcpus: Of an `.xlarge`.
        memory_gb: Of an `.xlarge`.
        emr: EMR's surcharge.
        on_demand: EC2's price by region.
        spot: EC2's typical Spot price by region.
    """

    vcpus: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    emr: float = Field(ge=0)
    on_demand: dict[str, float]
    spot: dict[str, float]


class ServerlessPrice(_Table):
    """EMR Serverless, USD an hour: of one vCPU, and of one GB of memory."""

    vcpu: float = Field(gt=0)
    memory_gb: float = Field(gt=0)


class PriceTable(_Table):
    """All of `prices.yml`.

    Attributes:
        noted: When somebody wrote the prices down.
        checked: Whether they were compared with AWS's own pages then.
        eur_per_usd: One USD in EUR.
        eur_noted: When that was noted.
        families: By name of the instance family.
        ebs_gb_month: USD, disks.
        s3_gb_month: USD, storage.
        s3_put_1000: USD, a thousand uploads.
        s3_get_1000: USD, a thousand reads.
        serverless: By region.
    """

    noted: date
    checked: bool
    eur_per_usd: float = Field(gt=0)
    eur_noted: date
    families: dict[str, Family]
    ebs_gb_month: float = Field(ge=0)
    s3_gb_month: float = Field(ge=0)
    s3_put_1000: float = Field(ge=0)
    s3_get_1000: float = Field(ge=0)
    serverless: dict[str, ServerlessPrice]

    def vcpus(self, instance_type: str) -> int:
        """Number of vCPUs of one instance."""
        family, size = self._family(instance_type)
        return round(family.vcpus * size)

    def hourly(self, instance_type: str, region: str, spot: bool, volume_gb: float) -> float:
        """USD an hour of one node of a cluster: machine, EMR's surcharge and disk.

        Args:
            instance_type: For example `c7i.2xlarge`.
            region: Where.
            spot: At the Spot price.
            volume_gb: Of its disk.

        Raises:
            InputError: If the table has no price for it.
        """
        family, size = self._family(instance_type)
        prices = family.spot if spot else family.on_demand
        if region not in prices:
            raise InputError(
                f"There is no price of {instance_type} in {region} in prices.yml. Note it there, or use another "
                f"region ({', '.join(prices)}) or instance type."
            )
        return size * (prices[region] + family.emr) + volume_gb * self.ebs_gb_month / HOURS_PER_MONTH

    def _family(self, instance_type: str) -> tuple[Family, float]:
        name = instance_type.partition(".")[0]
        if name not in self.families:
            raise InputError(
                f"There is no price of {instance_type} in prices.yml (families: {', '.join(self.families)}). "
                "Note it there, or use one of those."
            )
        return self.families[name], size_factor(instance_type)

    @property
    def note(self) -> str:
        """What a reader of any figure must know."""
        unchecked = "" if self.checked else "; nobody has compared them with AWS's pages yet"
        return (
            f"Prices: conf prices.yml, noted by hand on {self.noted}{unchecked}. "
            f"1 USD = {self.eur_per_usd:.2f} EUR ({self.eur_noted}). Without VAT. Spot prices change."
        )


def size_factor(instance_type: str) -> float:
    """How many `.xlarge` an instance is.

    Raises:
        InputError: For sizes that are no multiple of it.
    """
    size = instance_type.partition(".")[2]
    if size == "large":
        return 0.5
    match = re.fullmatch(r"(\d*)xlarge", size)
    if not match:
        raise InputError(f"The size of the instance type {instance_type} is unknown; use .large, .xlarge, .2xlarge, …")
    return float(match[1] or 1)


def load_prices(conf_source: Path, env: str) -> PriceTable:
    """Reads the price table.

    Raises:
        InputError: If it is not there or malformed.
    """
    return validated(PriceTable, read_conf(conf_source, env, "prices"), f"conf/{env}/prices.yml")


def cluster_hourly(settings: EmrSettings, prices: PriceTable, nodes: int, spot: bool) -> float:
    """USD an hour of a cluster while it stands, whether it works or not.

    Args:
        settings: Machines and region.
        prices: The table.
        nodes: Core and task nodes; the core nodes among them and the primary are always on-demand.
        spot: Whether task nodes are Spot instances.

    Returns:
        USD an hour.
    """
    cluster, region = settings.cluster, settings.region
    core = min(nodes, cluster.core_nodes)
    primary = prices.hourly(cluster.primary_type, region, False, cluster.volume_gb)
    core_price = prices.hourly(cluster.node_type, region, False, cluster.volume_gb)
    task_price = prices.hourly(cluster.node_type, region, spot, cluster.volume_gb)
    return primary + core * core_price + (nodes - core) * task_price


def money(usd: float, prices: PriceTable) -> str:
    """An amount in EUR, with cents where there are few."""
    eur = usd * prices.eur_per_usd
    if 0 < eur < 0.01:
        return "< 0.01 EUR"
    return f"{eur:,.2f} EUR" if eur < 1000 else f"{eur:,.0f} EUR"
