"""`kedro emr ui`."""

from __future__ import annotations

from collections.abc import Sequence

from fruits_pipeline.emr import tunnels
from fruits_pipeline.emr.aws import say
from fruits_pipeline.emr.commands.setup import Setup
from fruits_pipeline.emr.commands.submit import cluster_thing, living_cluster


def ui(setup: Setup, names: Sequence[str], cluster_id: str | None, start: bool) -> None:
    """Shows, or runs, the port-forwards to the cluster's pages."""
    pages = [tunnels.PAGES[name] for name in names or tunnels.PAGES]
    if setup.dry_run:
        nobody = tunnels.Primary("<primary node>", "<its private name>")
        for line in tunnels.describe(pages, nobody, setup.settings):
            say(line)
        return
    emr = setup.client("emr")
    cluster = living_cluster(setup, emr, cluster_id)
    primary = tunnels.find_primary(emr, cluster.id)
    for line in tunnels.describe(pages, primary, setup.settings):
        say(line)
    say("A notebook with an open Spark session keeps the cluster from ending itself: shut its kernel down.")
    if start:
        setup.remains.add(cluster_thing(setup, emr, cluster))
        tunnels.open_pages(pages, primary, setup.settings)
