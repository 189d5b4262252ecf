"""`make package`, for real: what goes to a cluster, and what must not."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from fruits_pipeline.emr.artifacts import find_artifacts
from fruits_pipeline.emr.settings import load_settings, read_conf

from .packed_project import PROJECT, copy_project, load_script, make_package

pytestmark = pytest.mark.slow

WHEEL = "fruits_pipeline-0.1.0-py3-none-any.whl"
CONF = "conf-fruits_pipeline.tar.gz"
KEY = "AKIA" + "0" * 16

MINE = ("conf/local/credentials.yml", "conf/local/notes.txt", "conf/cloud/my_credentials.json", "data/secret.csv")
"""What a person may have lying there."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packaged checkout in which somebody has worked: keys, a changed setting, a module that has gone since."""
    folder = copy_project(tmp_path_factory.mktemp("packaged") / "a project é")
    stale = "build/lib/fruits_pipeline/gone.py"
    for name in (*MINE, stale, "conf/cloud/mine.yml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"key: {KEY if name in MINE else 1}\n")
    with (folder / "conf" / "cloud" / "spark.yml").open("a") as file:
        file.write("spark.changed: 1\n")
    make_package(folder)
    return folder


@pytest.fixture(scope="module")
def dist(project: Path) -> Path:
    return project / "dist"


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as file:
        return file.getnames()


def content(archive: Path) -> dict[str, bytes]:
    """All files by name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as file:
        return {name: member.read() for name in file.getnames() if (member := file.extractfile(name))}


def test_the_wheel_holds_the_package_and_nothing_else(dist):
    found = content(dist / WHEEL)
    package = {name for name in found if not name.startswith("fruits_pipeline-0.1.0.dist-info/")}
    source = {
        path.relative_to(PROJECT / "src").as_posix()
        for path in (PROJECT / "src" / "fruits_pipeline").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == {*source, "fruits_pipeline/commit.txt"}
    assert {"fruits_pipeline/log4j2.properties", "fruits_pipeline/__main__.py"} < package
    assert any(name.endswith(".weights.h5") for name in package), "the bundled encoder"


def test_the_wheel_knows_its_commit(project, dist):
    """A cluster has no checkout, and a row must lead to the code that made it."""
    commit = git(project, "rev-parse", "HEAD")
    assert content(dist / WHEEL)["fruits_pipeline/commit.txt"].decode().split() == [commit]
    assert not (project / "src" / "fruits_pipeline" / "commit.txt").exists()  # a checkout asks git


def test_code_that_nobody_committed_is_said_to_be_so(project, tmp_path):
    other = tmp_path / "changed"
    subprocess.run(["cp", "-R", project, other], check=True)
    (other / "src" / "fruits_pipeline" / "new.py").touch()
    commit = content(make_package(other) / WHEEL)["fruits_pipeline/commit.txt"].decode().strip()
    assert commit == f"{git(project, 'rev-parse', 'HEAD')}-dirty"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_workers_need_neither_spark_nor_tensorflow(dist):
    metadata = Parser().parsestr(content(dist / WHEEL)["fruits_pipeline-0.1.0.dist-info/METADATA"].decode())
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    pinned = pins("requirements-emr.txt")
    assert {re.split(r"[^\w-]", line)[0].lower() for line in needed} <= pinned.keys()
    assert not {"pyspark", "tensorflow", "keras", "tf2onnx"} & pinned.keys()


def pins(name: str) -> dict[str, str]:
    """Versions by package."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (PROJECT / "bootstrap" / name).read_text(), re.MULTILINE))


def test_the_primary_node_has_what_all_have_and_jupyter():
    """One wheelhouse serves both, and a notebook's driver runs what the workers run."""
    everywhere, primary = pins("requirements-emr.txt"), pins("requirements-emr-primary.txt")
    assert everywhere.items() < primary.items()
    assert {"jupyterlab", "notebook", "ipython", "matplotlib", "boto3"} <= primary.keys() - everywhere.keys()
    assert not {"pyspark", "tensorflow", "keras", "tf2onnx"} & primary.keys()


@pytest.mark.parametrize("name", ["requirements-emr.txt", "requirements-emr-primary.txt"])
def test_nodes_get_what_was_tested(name):
    """All hash-checked, and of the versions in requirements.lock."""
    text = (PROJECT / "bootstrap" / name).read_text()
    # Of some packages there are two versions, for older and newer Pythons.
    locked = set(re.findall(r"^([\w.-]+)==([^\s;]+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE))
    assert pins(name).items() - locked == set()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_the_configuration_is_what_git_would_commit(dist):
    found = names(dist / CONF)
    assert {name.split("/")[0] for name in found} == {"conf"}, "Kedro wants one folder at the top"
    assert {name.split("/")[1] for name in found} == {"base", "cloud", "logging.yml"}
    assert {"conf/base/catalog.yml", "conf/cloud/globals.yml", "conf/cloud/mine.yml"} < set(found)


def test_kedro_reads_the_packed_configuration(dist):
    spark = read_conf(dist / CONF, "cloud", "spark")
    assert spark["spark.changed"] == 1, "changes that are not committed yet are packed too"
    assert spark["spark.sql.session.timeZone"] == "UTC"


def test_the_project_of_the_primary_node(dist):
    found = content(dist / "project.tar.gz")
    assert {name.split("/")[0] for name in found} == {".telemetry", "conf", "notebooks", "pyproject.toml"}
    assert tomllib.loads(found["pyproject.toml"].decode())["tool"]["kedro"]["package_name"] == "fruits_pipeline"
    notebooks = [json.loads(text) for name, text in found.items() if name.endswith(".ipynb")]
    assert notebooks
    assert all(notebook["cells"] for notebook in notebooks)


@pytest.mark.parametrize("name", [WHEEL, CONF, "project.tar.gz"])
def test_nobodys_own_files_go_along(dist, name):
    found = content(dist / name)
    assert not [file for file in found if "local" in file.split("/") or "credentials" in file or "tests/" in file]
    assert not [file for file, text in found.items() if KEY.encode() in text]


def test_kedros_own_archive_would_hold_them(project, tmp_path):
    """Why there is bootstrap/archive.py: the command of `kedro package`, word by word."""
    archive = tmp_path / "conf.tar.gz"
    command = ["tar", "--exclude=local/*.yml", "-czf", archive, f"--directory={project}", "conf"]
    subprocess.run(command, check=True)
    assert KEY.encode() in content(archive)["conf/local/notes.txt"]


def test_the_same_files_make_the_same_bytes(project, tmp_path):
    """… at another time, with other file times, in another folder."""
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (project / "dist").iterdir()}
    other = tmp_path / "elsewhere"
    subprocess.run(["cp", "-R", project, other], check=True)
    after = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in make_package(other).iterdir()}
    assert before == after
    assert set(before) == {WHEEL, CONF, "project.tar.gz"}


def test_a_cluster_finds_all_that_is_required(project):
    found = find_artifacts(load_settings(PROJECT / "conf", "cloud", {"bucket": "fruits-test"}), project)
    assert (found.wheel.name, found.conf.name, found.entry.name) == (WHEEL, CONF, "submit.py")
    assert found.project == project / "dist" / "project.tar.gz"
    assert found.primary_requirements == project / "bootstrap" / "requirements-emr-primary.txt"


# ---- the entry script ------------------------------------------------------------------------------------------------


def submit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """submit.py as a program, somewhere else than in the project."""
    command = [sys.executable, PROJECT / "bootstrap" / "submit.py", *arguments]
    own = {name: value for name, value in os.environ.items() if not name.startswith("KEDRO_")}
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source", ["/nowhere/conf.tar.gz", "DAMAGED.tar.gz"])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, source):
    (tmp_path / "DAMAGED.tar.gz").write_text("no archive")
    done = submit(tmp_path, "--env=cloud", f"--conf-source={source}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the configuration {source} cannot be read (")
    assert "kedro emr upload" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_of_a_run_are_one_message_in_the_projects_own_log(dist, tmp_path):
    done = submit(tmp_path, "--env=cloud", f"--conf-source={dist / CONF}", "--params=imagse=x")
    assert done.returncode == 1
    (message,) = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert message.startswith("Error: --params: there is no parameter imagse. Did you mean images?")


def test_logging_comes_from_the_archive(dist):
    text = load_script("submit.py").read_logging(str(dist / CONF)).decode()
    assert text == (PROJECT / "conf" / "logging.yml").read_text()
