"""The way to the cluster's pages."""

import json
import os
import shlex

import pytest

from fruits_pipeline.emr import tunnels
from fruits_pipeline.emr.tunnels import PAGES, Primary
from fruits_pipeline.errors import InputError

PRIMARY = Primary("i-0123456789abcdef0", "ip-10-0-0-1.eu-west-3.compute.internal")


def options(words):
    return dict(zip(words[3::2], words[4::2], strict=True))


def test_yarn_is_reached_by_the_primarys_own_name(settings):
    words = tunnels.command(PAGES["yarn"], PRIMARY, settings)
    assert words[:3] == ["aws", "ssm", "start-session"]
    given = options(words)
    assert given["--target"] == PRIMARY.instance
    assert given["--region"] == "eu-west-3"
    assert given["--document-name"] == "AWS-StartPortForwardingSessionToRemoteHost"
    assert json.loads(given["--parameters"]) == {
        "host": [PRIMARY.host],
        "portNumber": ["8088"],
        "localPortNumber": ["8088"],
    }


def test_jupyter_listens_on_the_primarys_loopback(settings):
    given = options(tunnels.command(PAGES["jupyter"], PRIMARY, settings))
    assert given["--document-name"] == "AWS-StartPortForwardingSession"
    assert json.loads(given["--parameters"]) == {"portNumber": ["8888"], "localPortNumber": ["8888"]}


def test_what_is_shown_can_be_copied_into_a_shell(settings):
    lines = tunnels.describe([PAGES["spark"]], PRIMARY, settings)
    assert "http://localhost:18080" in lines[0]
    assert shlex.split(lines[1]) == tunnels.command(PAGES["spark"], PRIMARY, settings)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("INSTANCE_FLEET", {"InstanceFleetType": "MASTER"}), ("INSTANCE_GROUP", {"InstanceGroupTypes": ["MASTER"]})],
)
def test_the_primary_is_found_in_fleets_and_groups(stubbed, kind, asked):
    emr = stubbed(
        "emr",
        ("describe_cluster", {"Cluster": {"Id": "j-1", "InstanceCollectionType": kind}}),
        (
            "list_instances",
            {"Instances": [{"Ec2InstanceId": PRIMARY.instance, "PrivateDnsName": PRIMARY.host}]},
            {"ClusterId": "j-1", "InstanceStates": ["RUNNING"], **asked},
        ),
    )
    assert tunnels.find_primary(emr, "j-1") == PRIMARY


def test_a_primary_that_does_not_run_is_an_error(stubbed):
    emr = stubbed("emr", ("describe_cluster", {"Cluster": {"Id": "j-1"}}), ("list_instances", {"Instances": []}))
    with pytest.raises(InputError, match="does not run"):
        tunnels.find_primary(emr, "j-1")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """An `aws` that notes its arguments, and the plugin it wants."""
    log = tmp_path / "log"

    def install(exit_code=0, plugin=True):
        script = f'#!/bin/sh\nprintf "%s\\n" "$*" >> "{log}"\nexit {exit_code}\n'
        for name in ["aws", *(["session-manager-plugin"] if plugin else [])]:
            (tmp_path / name).write_text(script)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")

    install.log = log
    return install


def test_forwards_run_and_pages_open(settings, programs):
    programs()
    opened = []
    tunnels.open_pages([PAGES["spark"], PAGES["yarn"]], PRIMARY, settings, opened.append)
    assert opened == ["http://localhost:18080", "http://localhost:8088"]
    assert sorted(programs.log.read_text().splitlines()) == sorted(
        " ".join(tunnels.command(page, PRIMARY, settings)[1:]) for page in (PAGES["spark"], PAGES["yarn"])
    )


def test_a_forward_that_fails_is_named(settings, programs):
    programs(exit_code=254)
    with pytest.raises(InputError, match="No forward to YARN ResourceManager"):
        tunnels.open_pages([PAGES["yarn"]], PRIMARY, settings, lambda url: True)


def test_a_missing_plugin_is_named_before_anything_runs(settings, programs, monkeypatch):
    programs(plugin=False)
    with pytest.raises(InputError, match=r"session-manager-plugin is not installed.*docs\.aws"):
        tunnels.open_pages([PAGES["yarn"]], PRIMARY, settings, lambda url: True)
    assert not programs.log.exists()
