"""Kedro-Viz as a person sees it: the graph and the previews of the figures, in a real browser."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

LAYERS = ["raw", "intermediate", "primary", "feature", "models", "model_input", "reporting"]

pytestmark = pytest.mark.slow
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def viz(sample_run, traps_of_module, tmp_path_factory):
    """`kedro viz run` on 127.0.0.1 over the results of a run; stopped afterwards."""
    port = free_port()
    command = ["viz", "run", "--no-browser", "--host=127.0.0.1", f"--port={port}"]
    params = f"--params=images={sample_run.images},output={sample_run.output}"
    log = tmp_path_factory.mktemp("viz") / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "kedro", *command, params],
            cwd=sample_run.project,
            env={**os.environ, **traps_of_module[1]},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield wait_for(f"http://127.0.0.1:{port}", server, log)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # Kedro-Viz serves from a child, which would outlive its parent
        server.wait(timeout=30)


def free_port() -> int:
    """A free port below the ones that the system hands out: Kedro-Viz takes none above 49151."""
    for port in range(20000 + os.getpid() % 5000, 32000):
        with socket.socket() as candidate:
            if candidate.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port")


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
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
    options += ["--window-size=1800,1500", "--virtual-time-budget=20000", "--dump-dom"]
    command = [str(CHROMIUM), *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


def graph(address: str) -> dict:
    with urllib.request.urlopen(f"{address}/api/main", timeout=30) as answer:
        return json.load(answer)


def test_graph_is_whole_and_starts_nothing(viz, traps_of_module):
    served = graph(viz)
    names = {node["name"] for node in served["nodes"]}
    assert {"raw_images", "featurized_images", "reduced_features", "fit_pca", "scree_plot", "run_report"} <= names
    assert served["layers"] == LAYERS
    assert not traps_of_module[0].exists()


@in_a_browser
def test_graph_shows_every_node_and_dataset(viz, tmp_path):
    seen = page(viz, tmp_path / "profile")
    names = {node["name"] for node in graph(viz)["nodes"] if node["type"] != "parameters"}
    assert len(names) > 30
    assert {name for name in names if name not in seen} == set()


@in_a_browser
@pytest.mark.parametrize("figure", ["scree_plot", "component_scatter"])
def test_figures_are_previewed(viz, tmp_path, figure):
    (identity,) = [node["id"] for node in graph(viz)["nodes"] if node["name"] == figure]
    seen = page(f"{viz}/?pid=__default__&sid={identity}", tmp_path / "profile")
    assert "js-plotly-plot" in seen
    assert "component" in seen[seen.index("js-plotly-plot") :]
