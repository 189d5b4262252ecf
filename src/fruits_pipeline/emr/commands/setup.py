"""What every command has, and how it asks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from fruits_pipeline.emr import aws, prices
from fruits_pipeline.emr.remains import Remains
from fruits_pipeline.emr.settings import EmrSettings, load_settings
from fruits_pipeline.errors import InputError


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


def confirm(question: str, yes: bool) -> None:
    """Asks before something costs money or is lost.

    Raises:
        InputError: If the answer is no.
    """
    if not yes and not click.confirm(question, default=False):
        raise InputError("Nothing was started.")
