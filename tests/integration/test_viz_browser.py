"""Kedro-Viz as a person sees it: the graph and the previews of the figures, in a real browser."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def viz(sample_run, tmp_path_factory):
    """`kedro viz run` on 127.0.0.1 over the results of a run; stopped afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["viz", "run", "--no-browser", "--host=127.0.0.1", f"--port={port}"]
    params = f"--params=images={sample_run.images},output={sample_run.output}"
    log = tmp_path_factory.mktemp("viz") / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "kedro", *command, params], cwd=sample_run.project, stdout=file, stderr=file
        )
    try:
        yield wait_for(f"http://127.0.0.1:{port}", server, log)
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api/main", timeout=5).close()
            return address
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def page(address: str, profile: Path) -> str:
    """The page after its scripts have run."""
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
        + [
            f"--user-data-dir={profile}",
            "--window-size=1800,1500",
            "--virtual-time-budget=20000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout


def test_graph_shows_every_node_and_dataset(viz, tmp_path):
    seen = page(viz, tmp_path / "profile")
    graph = json.load(urllib.request.urlopen(f"{viz}/api/main", timeout=30))
    names = {node["name"] for node in graph["nodes"] if node["type"] != "parameters"}
    assert len(names) > 30
    assert {name for name in names if name not in seen} == set()


@pytest.mark.parametrize("figure", ["scree_plot", "component_scatter"])
def test_figures_are_previewed(viz, tmp_path, figure):
    graph = json.load(urllib.request.urlopen(f"{viz}/api/main", timeout=30))
    (identity,) = [node["id"] for node in graph["nodes"] if node["name"] == figure]
    seen = page(f"{viz}/?pid=__default__&sid={identity}", tmp_path / "profile")
    assert "js-plotly-plot" in seen
    assert "component" in seen[seen.index("js-plotly-plot") :]
