"""Fixtures: one Spark session for all tests of this process, and real runs of the command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "data" / "01_raw" / "sample"
SHARED = PROJECT.parent / "shared"
SETTINGS = yaml.safe_load((PROJECT / "conf" / "base" / "spark.yml").read_text())

os.environ.update(KEDRO_DISABLE_TELEMETRY="1", PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")

Kedro = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Run:
    """A finished `kedro run`."""

    project: Path
    images: Path
    output: Path
    log: str


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real photographs and ImageNet weights, where they are."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared on this machine")
    return SHARED


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session like that of a local run, but with more partitions than rows would need."""
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", False)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", SETTINGS["spark.driver.extraJavaOptions"])
        .config("spark.sql.shuffle.partitions", 4)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.log.level", "OFF")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def kedro() -> Kedro:
    """Runs a kedro command as a person does: in a process of its own, in the project's folder."""

    def run(*arguments: str, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYSPARK_")}
        return subprocess.run(
            [sys.executable, "-m", "kedro", *arguments],
            cwd=cwd,
            env={**environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory, kedro: Kedro) -> Run:
    """The bundled sample through the whole pipeline, with a blank and an accent in both paths."""
    folder = tmp_path_factory.mktemp("a run é")
    images, output = folder / "mes images", folder / "sortie"
    shutil.copytree(SAMPLE, images)
    done = kedro("run", f"--params=images={images},output={output}")
    assert done.returncode == 0, done.stderr
    return Run(PROJECT, images, output, done.stderr)


def set_traps(folder: Path) -> tuple[Path, dict[str, str]]:
    """A `java` and a `tensorflow` that leave a mark when they are started: the mark, and the environment to use."""
    mark = folder / "started"
    for name in ("tensorflow", "keras"):
        (folder / "python" / name).mkdir(parents=True)
        (folder / "python" / name / "__init__.py").write_text(f"open({str(mark)!r}, 'a').write('{name}')\n")
    java = folder / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho java >> '{mark}'\nexit 1\n")
    java.chmod(0o755)
    return mark, {"JAVA_HOME": str(java.parents[1]), "PYTHONPATH": str(folder / "python")}


@pytest.fixture
def traps(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    return set_traps(tmp_path / "traps")


@pytest.fixture(scope="module")
def traps_of_module(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return set_traps(tmp_path_factory.mktemp("traps"))
