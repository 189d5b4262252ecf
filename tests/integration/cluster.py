"""A Spark cluster on this machine: a standalone master and two workers, all of them processes of their own.

Their Python environment is not that of the tests. It holds what bootstrap-emr.sh installs on a node: the wheel and the
packages of requirements-emr.txt, neither pyspark nor TensorFlow. Spark is found as on EMR, through SPARK_HOME.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd
import pyspark

from .outputs import read, report
from .s3_server import S3Server

PROJECT = Path(__file__).resolve().parents[2]
LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:MetaspaceSize=256m"
"""For JVMs that live for seconds: what they would learn about their code comes too late."""

EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
WORKERS = 2


# ---- a node's software -----------------------------------------------------------------------------------------------


def make_spark_home(folder: Path) -> Path:
    """The layout of a Spark distribution, out of links into pip's pyspark: bin, jars, python/lib, python/pyspark."""
    pip = Path(pyspark.__file__).parent
    (folder / "python").mkdir(parents=True)
    for name, target in {"bin": "bin", "jars": "jars", "python/lib": "python/lib", "python/pyspark": "."}.items():
        (folder / name).symlink_to(pip / target)
    return folder


def make_environment(folder: Path, wheel: Path, spark_home: Path) -> Path:
    """A node's virtual environment; its interpreter.

    Packages are links to those of this environment, which must have the versions that nodes get: nothing is downloaded.
    """
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # pip must not look elsewhere
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], env=plain, check=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    text = (PROJECT / "bootstrap" / "requirements-emr.txt").read_text(encoding="utf-8")
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE):
        package = distribution(name)
        assert package.version == version, f"{name} {package.version} here, {version} on the nodes: make lock"
        for top in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))
    # As bootstrap-emr.sh writes it.
    (site / "emr-spark.pth").write_text(
        f"import glob, sys; sys.path += [p for p in glob.glob({f'{spark_home}/python/lib/py4j-*-src.zip'!r})"
        f" + glob.glob({f'{spark_home}/python'!r}) if p not in sys.path]\n"
    )
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel], env=plain, check=True)
    return python


def unpack_project(archive: Path, folder: Path) -> Path:
    """The project's folder on the primary node, as bootstrap-emr.sh makes it."""
    (folder / "src").mkdir(parents=True)
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
    return folder


# ---- the cluster -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster has.

    Attributes:
        spark_home: Spark's own files.
        spark_conf: Folder of spark-defaults.conf.
        python: Interpreter of the project's environment.
        disk: Where workers and S3A put their scratch files.
        variables: Keys and endpoint of S3: here they stand for the role of the machines.
    """

    spark_home: Path
    spark_conf: Path
    python: Path
    disk: Path
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Of every process of the cluster. Nothing of the tests' own environment but the search path and Java."""
        kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
        return {
            **kept,
            **self.variables,
            "HOME": str(self.disk),  # no settings of the person who runs the tests
            "LC_ALL": "C.UTF-8",
            "SPARK_HOME": str(self.spark_home),
            "SPARK_CONF_DIR": str(self.spark_conf),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.disk),
            "SPARK_DAEMON_MEMORY": "256m",
            "JDK_JAVA_OPTIONS": LIGHT,
            "PYSPARK_PYTHON": str(self.python),
            "KEDRO_DISABLE_TELEMETRY": "1",
        }


@dataclass
class Cluster:
    """A running cluster; `stop` ends all of its processes.

    Attributes:
        node: What its machines have.
        project: The project's folder on the primary node.
        folder: Of logs and work.
        port: Of the master.
        page: Port of the master's page.
    """

    node: Node
    project: Path
    folder: Path
    port: int
    page: int
    _master: subprocess.Popen[bytes] | None = None
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _jobs: list[Job] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the master and as many workers as are missing, and waits until all are there."""
        if self._master is None:
            ports = [f"--port={self.port}", f"--webui-port={self.page}"]
            self._master = self._daemon("master.Master", "master", "--host=127.0.0.1", *ports)
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < WORKERS:
            self._workers.append(self._start_worker(len(list(self.folder.glob("worker-*.log")))))
        self._wait_for_workers()

    def _start_worker(self, number: int) -> subprocess.Popen[bytes]:
        work = self.folder / f"work-{number}"
        size = ["--cores=4", "--memory=3g"]  # room for one executor of conf/cloud/spark.yml
        ports = ["--host=127.0.0.1", "--port=0", "--webui-port=0"]
        return self._daemon("worker.Worker", f"worker-{number}", *ports, *size, f"--work-dir={work}", self.url)

    def _daemon(self, name: str, log: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [self.node.spark_home / "bin" / "spark-class", f"org.apache.spark.deploy.{name}"]
        words = [word for argument in arguments for word in argument.split("=", 1)]
        with (self.folder / f"{log}.log").open("wb") as file:
            return subprocess.Popen([*command, *words], stdout=file, stderr=file, env=self.node.environment)

    def _wait_for_workers(self) -> None:
        for _ in range(600):
            if any(process.poll() is not None for process in [*self._workers, self._master] if process):
                break
            with suppress(OSError):
                state = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{self.page}/json/", timeout=5).read())
                if sum(worker["state"] == "ALIVE" for worker in state["workers"]) == WORKERS:
                    return
            time.sleep(0.1)
        logs = "\n".join(path.read_text(errors="replace")[-500:] for path in self.folder.glob("*.log"))
        raise AssertionError(f"the cluster did not start:\n{logs}")

    def stop(self) -> None:
        for job in self._jobs:
            job.kill()
        for process in [*self._workers, self._master]:
            if process is not None:
                kill_with_children(process.pid)
                process.wait()

    def executors(self) -> dict[int, int]:
        """Process numbers of the executors, by that of their worker."""
        workers = {worker.pid for worker in self._workers}
        return {parent: pid for pid, parent, command in processes() if parent in workers and EXECUTOR in command}

    def lose_a_node(self) -> None:
        """Kills one worker and its executor, as when a Spot instance is taken away: the one with more work.

        An executor that came late, or that others have kept the work from, may have no task now, and nobody would miss
        it. The one whose Python has computed most has: there is more to do.
        """
        worker, executor = max(self.executors().items(), key=lambda node: python_time(node[1]))
        python = [command for _, parent, command in processes() if parent == executor]
        assert all(str(self.node.python) in command for command in python), "the executor's Python is another one"
        assert python, "no Python is at work there"
        os.kill(worker, signal.SIGKILL)
        kill_with_children(executor)

    def kedro_run(self, *arguments: str, **variables: str) -> Job:
        """The first way in: `kedro run --env=cloud` in the shell of the primary node."""
        command = [str(self.node.python), "-m", "kedro", "run", "--env=cloud", *arguments]
        return self._job(command, variables)

    def spark_submit(self, *arguments: str, **variables: str) -> Job:
        """The second way in: spark-submit with these arguments."""
        return self._job([str(self.node.spark_home / "bin" / "spark-submit"), *arguments], variables)

    def _job(self, command: Sequence[str], variables: Mapping[str, str]) -> Job:
        log = self.folder / f"job-{len(list(self.folder.glob('job-*.log')))}.log"
        with log.open("wb") as file:
            environment = {**self.node.environment, **variables}
            process = subprocess.Popen(
                command, cwd=self.project, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        self._jobs.append(Job(process, log))
        return self._jobs[-1]


@dataclass(frozen=True)
class Job:
    """A run on the cluster: its driver, with a process group of its own, and what it says."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def log(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=300)

    def succeed(self) -> None:
        """Waits for a good end."""
        assert self.wait() == 0, self.log[-5000:]

    def error(self) -> str:
        """Waits for a bad end; the one message that it must be."""
        assert self.wait() == 1, self.log[-5000:]
        assert "Traceback" not in self.log, self.log[-5000:]
        assert self.log.count("\nError: ") == 1, self.log[-5000:]
        return self.log[self.log.index("\nError: ") + 1 :]

    def kill(self) -> None:
        """Ends Python and JVM of the driver at once, as a power failure does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def processes() -> Iterator[tuple[int, int, str]]:
    """All processes of this machine: number, number of the parent, command (proc(5))."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            yield int(folder.name), int(parent), command


def python_time(executor: int) -> int:
    """Clock ticks that an executor's Python workers have computed so far."""
    parents = {pid: parent for pid, parent, _ in processes()}
    return sum(ticks_of(pid) for pid, parent in parents.items() if parents.get(parent) == executor)


def ticks_of(pid: int) -> int:
    """User and system time of a process (fields 14 and 15 of proc(5)); 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def kill_with_children(pid: int) -> None:
    """Kills a process and all that it has started, the youngest last."""
    children = [child for child, parent, _ in processes() if parent == pid]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_with_children(child)


# ---- tables ----------------------------------------------------------------------------------------------------------


def upload(server: S3Server, bucket: str, prefix: str, folder: Path) -> None:
    """All files of a folder, to a prefix."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    server.fill(bucket, {f"{prefix}/{name}": content for name, content in files.items()})


def download(server: S3Server, bucket: str, prefix: str, folder: Path) -> Path:
    """All results of a run: the layers 02 to 08."""
    shutil.rmtree(folder, ignore_errors=True)
    client = server.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/0"):
        for item in page.get("Contents", []):
            name = item["Key"].removeprefix(f"{prefix}/")
            if not name.endswith("/") and not name.startswith("01_raw"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
    client.close()
    return folder


@dataclass(frozen=True)
class Results:
    """The results of a run.

    Attributes:
        output: Folder of the layers.
        root: Of the images, as the tables name it, with a slash at its end.
        names: From the images' names here to those that they are compared by; without, they are compared by name.
    """

    output: Path
    root: str
    names: Mapping[str, str] | None = None

    def table(self, name: str) -> pd.DataFrame:
        """Rows by image; no rows and no columns if nothing is committed."""
        rows = read(self.output, name)
        if rows is None:
            return pd.DataFrame()
        assert rows["path"].str.startswith(self.root).all()
        names = rows["path"].str.removeprefix(self.root)
        table = rows.set_index(names.map(self.names) if self.names else names).sort_index()
        assert table.index.is_unique
        assert not table.index.hasnans
        return table

    @property
    def features(self) -> pd.DataFrame:
        return self.table("featurized_images")


COUNTS = ("listed", "featurised", "quarantined", "unchanged", "in_quarantine", "with_features")
SAID_OF_AN_IMAGE = ("label", "length", "sha256", "width", "height", "mode", "reason", "detail", "encoder")


def assert_same_features(here: Results, there: Results) -> None:
    """The same rows, and features that differ by less than 1e-5."""
    ours, theirs = here.features, there.features
    assert list(theirs.index) == list(ours.index)
    for column in SAID_OF_AN_IMAGE:
        pd.testing.assert_series_equal(theirs[column], ours[column])
    good = ours.index[ours["reason"].isna()]
    np.testing.assert_allclose(
        np.stack(theirs.loc[good, "features"]), np.stack(ours.loc[good, "features"]), rtol=0, atol=1e-5
    )


def assert_same(here: Results, there: Results) -> None:
    """All of it: features, the number of components, the projection, the account of the images."""
    assert_same_features(here, there)
    ours, theirs = here.table("reduced_features"), there.table("reduced_features")
    assert list(theirs.index) == list(ours.index)
    one, other = np.stack(ours["pca_features"]), np.stack(theirs["pca_features"])
    assert other.shape == one.shape  # k
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-4)
    reports = [report(results.output) for results in (here, there)]
    counts = [{name: each["counts"][name] for name in COUNTS} for each in reports]
    assert counts[0] == counts[1]
    assert reports[0]["pca"]["n_components"] == reports[1]["pca"]["n_components"] == other.shape[1]
