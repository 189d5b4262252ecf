"""bootstrap-emr.sh, run for real into a scratch prefix: real environments, real pip, wheels made here."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from . import cloudformation

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "bootstrap" / "bootstrap-emr.sh"

pytestmark = pytest.mark.slow


def make_wheel(folder: Path, name: str, version: str = "1.0", requires: Sequence[str] = (), code: str = "") -> Path:
    """A wheel of one module, as pip wants it."""
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {it}" for it in requires),
    ]
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": code or f"__version__ = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def pin(wheel: Path, digest: str | None = None) -> str:
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} \\\n    --hash=sha256:{digest or hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass
class Node:
    """A node and its bucket, both folders.

    Attributes:
        root: Of everything.
        bucket: What `aws` serves as s3://bucket.
        options: Of the script, beside the usual ones.
        environment: Of its process.
    """

    root: Path
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def bucket(self) -> Path:
        return self.root / "bucket"

    @property
    def prefix(self) -> Path:
        return self.root / "opt" / "fruits"

    def start(self, **changed: str) -> subprocess.CompletedProcess[str]:
        """Runs the script; options by name, with underscores for hyphens."""
        options = {
            "wheel": "s3://bucket/artifacts/fruits_pipeline-1.0-py3-none-any.whl",
            "requirements": "s3://bucket/artifacts/requirements-emr.txt",
            "wheelhouse": "s3://bucket/artifacts/wheelhouse",
            "prefix": str(self.prefix),
            "python": sys.executable,
            "log": str(self.root / "bootstrap.log"),
            "instance_info": str(self.root / "instance.json"),
            "profile": str(self.root / "profile.sh"),
            "project_dir": str(self.root / "home" / "fruits"),
            **self.options,
            **changed,
        }
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value]
        environment = {
            "PATH": f"{self.root / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(self.root / "tmp"),
            "BUCKET": str(self.bucket),
            "FRUITS_RETRY_SECONDS": "0",
            **self.environment,
        }
        return subprocess.run(
            ["bash", SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def python(self, code: str, **environment: str) -> str:
        """What the node's environment prints."""
        command = [self.prefix / "bin" / "python", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    def requests(self) -> list[str]:
        log = self.root / "requests"
        return log.read_text().splitlines() if log.exists() else []


# `aws s3 cp` and `aws s3api put-object` on a folder; fails as often as the file `failures` says.
AWS = """#!/usr/bin/env bash
set -eu
echo "$*" >>"$BUCKET/../requests"
left=$(cat "$BUCKET/../failures" 2>/dev/null || echo 0)
if [ "$left" -gt 0 ]; then
  echo $((left - 1)) >"$BUCKET/../failures"
  echo "fatal error: An error occurred (503) when calling the GetObject operation: Slow Down" >&2
  exit 1
fi
if [ "$1" = s3api ]; then
  [ "$2 $3 $5" = "put-object --bucket --key" ]
  mkdir -p "$BUCKET/$6"
  exit
fi
[ "$1 $2 $3" = "s3 cp --only-show-errors" ]
path=${4#s3://bucket/}
if [ "${6:-}" = --recursive ]; then cp -R "$BUCKET/$path." "$5"; else cp "$BUCKET/$path" "$5"; fi
"""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return make_node(tmp_path)


def make_node(root: Path) -> Node:
    node = Node(root)
    artifacts = node.bucket / "artifacts"
    make_wheel(artifacts, "fruits_pipeline", requires=["one_dependency>=1"])
    dependency = make_wheel(artifacts / "wheelhouse", "one_dependency")
    (artifacts / "requirements-emr.txt").write_text(pin(dependency))
    (root / "tmp").mkdir()
    (root / "bin").mkdir()
    (root / "bin" / "aws").write_text(AWS)
    (root / "bin" / "aws").chmod(0o755)
    (root / "instance.json").write_text(json.dumps({"isMaster": False}))
    return node


def is_clean(node: Node) -> bool:
    """Whether neither an environment nor a temporary file is there."""
    return not list((node.root / "tmp").iterdir()) and not list(node.prefix.parent.glob("fruits*"))


# ---- One node's life -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Node, subprocess.CompletedProcess[str]]:
    """A node after its first bootstrap."""
    node = make_node(tmp_path_factory.mktemp("node"))
    return node, node.start()


def test_the_environment_holds_what_was_pinned(made: tuple[Node, subprocess.CompletedProcess[str]]) -> None:
    node, result = made
    assert result.returncode == 0, result.stdout + result.stderr
    assert node.python("import fruits_pipeline, one_dependency; print(fruits_pipeline.__version__)") == "1.0"
    assert (node.root / "bootstrap.log").read_text().splitlines() == result.stdout.splitlines()
    assert all(line[:4].isdigit() and line[19] == "Z" for line in result.stdout.splitlines()), "each line has its time"
    assert not list((node.root / "tmp").iterdir())
    assert not (node.root / "profile.sh").exists(), "only the primary node has shells"


def test_the_environment_finds_the_spark_of_the_cluster(
    made: tuple[Node, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    node, _ = made
    (pth,) = node.prefix.glob("lib/python3.*/site-packages/emr-spark.pth")
    assert node.python("import importlib.util; print(importlib.util.find_spec('pyspark'))") == "None"
    # Spark comes after the script has run; here its place is another one.
    spark = tmp_path / "spark" / "python"
    (spark / "pyspark").mkdir(parents=True)
    (spark / "pyspark" / "__init__.py").write_text("where = 'the cluster'\n")
    (spark / "lib").mkdir()
    with zipfile.ZipFile(spark / "lib" / "py4j-0.10.9.9-src.zip", "w") as archive:
        archive.writestr("py4j/__init__.py", "")
    line = pth.read_text().replace("/usr/lib/spark", str(tmp_path / "spark"))
    assert node.python(f"{line}\nimport py4j, pyspark; print(pyspark.where)") == "the cluster"


def test_a_second_run_installs_nothing(made: tuple[Node, subprocess.CompletedProcess[str]]) -> None:
    node, _ = made
    home = node.prefix.resolve()
    before = home.stat().st_mtime_ns
    asked = len(node.requests())
    assert node.start().returncode == 0
    assert node.prefix.resolve() == home
    assert home.stat().st_mtime_ns == before
    assert not [request for request in node.requests()[asked:] if "wheelhouse" in request]


def test_a_failed_change_leaves_the_old_environment(made: tuple[Node, subprocess.CompletedProcess[str]]) -> None:
    node, _ = made
    before = node.prefix.resolve()
    needy = make_wheel(node.root / "elsewhere", "fruits_pipeline", requires=["one_dependency", "forgotten"])
    result = node.start(wheel=str(needy))
    assert result.returncode == 1
    assert "FAILED (check that nothing is missing)" in result.stderr
    assert "requires forgotten" in result.stdout
    assert node.prefix.resolve() == before
    assert set(node.prefix.parent.iterdir()) == {node.prefix, before}, "not half an environment"


def test_changed_inputs_make_a_new_environment_and_a_primary_node_has_more(
    made: tuple[Node, subprocess.CompletedProcess[str]],
) -> None:
    node, _ = made  # the last test of this node: it is another one afterwards
    artifacts = node.bucket / "artifacts"
    first = node.prefix.resolve()
    make_wheel(artifacts, "fruits_pipeline", requires=["one_dependency"], code="__version__ = '2.0'\n")  # the same name
    assert node.start().returncode == 0
    assert node.python("import fruits_pipeline; print(fruits_pipeline.__version__)") == "2.0"
    second = node.prefix.resolve()
    assert first.exists(), "processes may still run in it"

    (node.root / "instance.json").write_text(json.dumps({"isMaster": True}))
    (node.root / "pyproject.toml").write_text("[tool.kedro]\n")
    with tarfile.open(artifacts / "project.tar.gz", "w:gz") as archive:
        archive.add(node.root / "pyproject.toml", "pyproject.toml")
    more = make_wheel(artifacts / "wheelhouse", "jupyterlab_like")
    (artifacts / "primary.txt").write_text((artifacts / "requirements-emr.txt").read_text() + pin(more))
    result = node.start(
        primary_requirements="s3://bucket/artifacts/primary.txt",
        project="s3://bucket/artifacts/project.tar.gz",
        event_logs="s3://bucket/fruits/logs/spark-events/",
        env="FRUITS_BUCKET=it's a bucket",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert node.python("import jupyterlab_like; print('there')") == "there"
    assert sorted(node.prefix.parent.glob("fruits-*")) == sorted([second, node.prefix.resolve()]), "no older ones"
    assert (node.bucket / "fruits" / "logs" / "spark-events").is_dir()
    assert (node.root / "home" / "fruits" / "pyproject.toml").is_file()
    assert (node.root / "home" / "fruits" / "src").is_dir(), "Kedro wants it"
    shell = f". {node.root / 'profile.sh'}; echo $FRUITS_BUCKET:$SPARK_HOME:$KEDRO_DISABLE_TELEMETRY:$PATH"
    environment = {"PATH": os.defpath}
    output = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env=environment).stdout
    assert output.strip() == f"it's a bucket:/usr/lib/spark:1:{os.defpath}:{node.prefix}/bin"


# ---- What must not happen --------------------------------------------------------------------------------------------


def test_a_tampered_package_is_never_installed(node: Node) -> None:
    wheel = node.bucket / "artifacts" / "wheelhouse" / "one_dependency-1.0-py3-none-any.whl"
    requirements = node.bucket / "artifacts" / "requirements-emr.txt"
    requirements.write_text(pin(wheel, digest="0" * 64))
    result = node.start()
    assert result.returncode == 1
    assert "FAILED (install packages)" in result.stderr
    assert "DO NOT MATCH THE HASHES" in result.stdout
    (command,) = [line for line in result.stdout.splitlines() if "exit code 1 of:" in line]
    assert {"--require-hashes", "--no-deps", "--no-index", "--no-build-isolation"} <= set(command.split())
    assert is_clean(node), "not half an environment"


@pytest.mark.parametrize("package", ["pyspark==4.1.1", "tensorflow==2.21.0", "tensorflow-cpu==2.21.0", "keras==3.15.1"])
def test_spark_and_tensorflow_are_refused(node: Node, package: str) -> None:
    with (node.bucket / "artifacts" / "requirements-emr.txt").open("a") as file:
        file.write(f"{package} \\\n    --hash=sha256:{'0' * 64}\n")
    result = node.start()
    assert result.returncode == 1
    assert f"pins {package}" in result.stderr
    assert is_clean(node)


def test_requirements_without_hashes_are_refused(node: Node) -> None:
    (node.bucket / "artifacts" / "requirements-emr.txt").write_text("one_dependency==1.0\n")
    result = node.start()
    assert result.returncode == 1
    assert "has no hashes" in result.stderr


def test_a_passing_fault_of_s3_is_survived(node: Node) -> None:
    (node.root / "failures").write_text("2")
    result = node.start(requirements=str(node.root / "nowhere.txt"))
    assert "attempt 2 of 3 failed" in result.stdout
    assert f"FAILED (fetch {node.root / 'nowhere.txt'})" in result.stderr, "the wheel came at the third attempt"


def test_what_cannot_be_read_is_named_with_the_cure(node: Node) -> None:
    (node.root / "failures").write_text("99")
    result = node.start()
    assert result.returncode == 1
    assert "fruits_pipeline-1.0-py3-none-any.whl could not be read. Is it uploaded (kedro emr upload)" in result.stderr
    assert len(node.requests()) == 3
    assert is_clean(node)


def test_an_empty_file_is_no_wheel(node: Node) -> None:
    (node.bucket / "artifacts" / "fruits_pipeline-1.0-py3-none-any.whl").write_bytes(b"")
    result = node.start()
    assert result.returncode == 1
    assert "is empty" in result.stderr


def test_a_full_disk_is_told_before_anything_is_installed(node: Node) -> None:
    result = node.start(min_disk="999999999")
    assert result.returncode == 1
    assert "999999999 are needed" in result.stderr
    assert is_clean(node)


def test_a_folder_of_somebody_else_is_left_alone(node: Node) -> None:
    node.prefix.mkdir(parents=True)
    (node.prefix / "precious").write_text("data")
    result = node.start()
    assert result.returncode == 1
    assert "not made by this script" in result.stderr
    assert (node.prefix / "precious").read_text() == "data"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"python": "python9.9"}, "There is no python9.9 on this node"),
        ({"python": "old-python"}, "fruits_pipeline needs Python 3.11, 3.12 or 3.13"),
        ({"instance_info": "DAMAGED"}, "FAILED (read "),
    ],
)
def test_an_unfit_node_is_told(node: Node, changed: dict[str, str], message: str) -> None:
    old = node.root / "bin" / "old-python"
    old.write_text('#!/bin/sh\nif [ "$1" = -V ]; then echo Python 3.9.16; else exit 1; fi\n')
    old.chmod(0o755)
    (node.root / "damaged.json").write_text("{")
    result = node.start(
        **{name: value.replace("DAMAGED", str(node.root / "damaged.json")) for name, value in changed.items()}
    )
    assert result.returncode == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"wheel": ""}, "--wheel is missing"),
        ({"requirements": ""}, "--requirements is missing"),
        ({"prefix": "opt/fruits"}, "must be an absolute path"),
        ({"min_disk": "much"}, "must be a number of MB"),
        ({"env": "no value"}, "--env wants NAME=VALUE"),
        ({"colour": "red"}, "There is no option --colour"),
    ],
)
def test_wrong_arguments_are_told(node: Node, changed: dict[str, str], message: str) -> None:
    result = node.start(**changed)
    assert (result.returncode, node.requests()) == (2, [])
    assert message in result.stderr


def test_the_cluster_passes_options_that_the_script_knows() -> None:
    choices = {"Wheelhouse": "yes", "PrimaryRequirements": "r.txt", "ProjectArchive": "p.tar.gz"}
    cluster = cloudformation.made(cloudformation.load(PROJECT / "bootstrap" / "cluster.yaml"), **choices)["Resources"]
    (action,) = cluster["Cluster"]["Properties"]["BootstrapActions"]
    arguments = action["ScriptBootstrapAction"]["Args"]
    assert len(arguments) == 9
    for argument in [*arguments, "--unknown=1"]:
        result = subprocess.run(["bash", SCRIPT, argument, "--help"], capture_output=True, text=True, check=False)
        assert result.returncode == (2 if argument == "--unknown=1" else 0), argument


def test_help_names_every_option() -> None:
    result = subprocess.run(["bash", SCRIPT, "--help"], capture_output=True, text=True, check=True)
    options = {
        line.split(")")[0].strip()
        for line in SCRIPT.read_text().splitlines()
        if line.startswith("    --") and ")" in line
    }
    assert {"--wheel", "--env", "--log"} <= options
    assert not [
        option
        for option in options
        if f"  {option}=" not in result.stdout and option not in ("--help | -h", "--*=*", "--*")
    ]


# ---- Style -----------------------------------------------------------------------------------------------------------


def shellcheck(path: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("shellcheck"), "--enable=quote-safe-variables", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    result = shellcheck(SCRIPT)
    assert (result.returncode, result.stdout) == (0, "")
    (tmp_path / "broken.sh").write_text(SCRIPT.read_text().replace('"$PYTHON"', "$PYTHON"))
    assert shellcheck(tmp_path / "broken.sh").returncode == 1
