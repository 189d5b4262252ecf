"""The web pages of a cluster, through Session Manager: no open port, no SSH key."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fruits_pipeline.emr.aws import say
from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError


@dataclass(frozen=True)
class Page:
    """A page on the primary node: what it is, its port, and whether it listens on the node's own loopback only."""

    name: str
    port: int
    loopback: bool


PAGES: Final = {
    "spark": Page("Spark History Server", 18080, False),
    "yarn": Page("YARN ResourceManager", 8088, False),
    "jupyter": Page(
        "JupyterLab (start it on the primary node: kedro jupyter lab --env=cloud --no-browser)", 8888, True
    ),
}

PLUGIN_CURE: Final = (
    "Install the AWS CLI (docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html) and its Session "
    "Manager plugin (docs.aws.amazon.com/systems-manager/latest/userguide/"
    "session-manager-working-with-install-plugin.html)."
)


@dataclass(frozen=True)
class Primary:
    """The primary node: id of the instance, and its private name."""

    instance: str
    host: str


def find_primary(client: Any, cluster_id: str) -> Primary:
    """Asks EMR for the primary node.

    Args:
        client: Of EMR.
        cluster_id: Whose.

    Raises:
        InputError: If it does not run (yet, or any more).
    """
    kind = client.describe_cluster(ClusterId=cluster_id)["Cluster"].get("InstanceCollectionType", "INSTANCE_FLEET")
    which: dict[str, Any] = (
        {"InstanceGroupTypes": ["MASTER"]} if kind == "INSTANCE_GROUP" else {"InstanceFleetType": "MASTER"}
    )
    found = client.list_instances(ClusterId=cluster_id, InstanceStates=["RUNNING"], **which)["Instances"]
    if not found:
        raise InputError(f"The primary node of {cluster_id} does not run yet, or any more. Look: kedro emr watch.")
    return Primary(found[0]["Ec2InstanceId"], found[0].get("PrivateDnsName") or "localhost")


def command(page: Page, primary: Primary, settings: EmrSettings) -> list[str]:
    """The AWS CLI's port-forward for one page.

    YARN and the history server listen on the node's private address, so the node forwards to itself by name.
    """
    ports = {"portNumber": [str(page.port)], "localPortNumber": [str(page.port)]}
    document = "AWS-StartPortForwardingSession"
    if not page.loopback:
        document, ports = f"{document}ToRemoteHost", {"host": [primary.host], **ports}
    return [
        *("aws", "ssm", "start-session", "--region", settings.region, "--target", primary.instance),
        *("--document-name", document, "--parameters", json.dumps(ports, separators=(",", ":"))),
    ]


def describe(pages: Sequence[Page], primary: Primary, settings: EmrSettings) -> list[str]:
    """The commands, to be copied; each runs until Ctrl-C."""
    lines = []
    for page in pages:
        lines += [f"{page.name}: http://localhost:{page.port}", f"  {shlex.join(command(page, primary, settings))}"]
    return [*lines, f"A shell there: aws ssm start-session --region {settings.region} --target {primary.instance}"]


def open_pages(
    pages: Sequence[Page],
    primary: Primary,
    settings: EmrSettings,
    browse: Callable[[str], bool] = webbrowser.open,
) -> None:
    """Runs the port-forwards until they end or Ctrl-C, and opens the pages.

    Raises:
        InputError: If the AWS CLI or its plugin is not installed, or a forward cannot start.
    """
    for program in ("aws", "session-manager-plugin"):
        if shutil.which(program) is None:
            raise InputError(f"{program} is not installed. {PLUGIN_CURE}")
    running = [(page, subprocess.Popen(command(page, primary, settings))) for page in pages]
    try:
        for page, _ in running:
            browse(f"http://localhost:{page.port}")
        say("Forwarding; Ctrl-C ends it. The cluster goes on.")
        failed = [page.name for page, process in running if process.wait() != 0]
    finally:
        for _, process in running:
            process.terminate()
            process.wait()
    if failed:
        raise InputError(f"No forward to {', '.join(failed)}: the AWS CLI said why above. {PLUGIN_CURE}")
