"""The packaged project on a real cluster with a real S3 server: both ways in, and what may go wrong meanwhile.

Not shown here: YARN, and with it spark-submit's cluster mode, which a standalone cluster does not have for Python. The
driver of a step runs beside spark-submit instead of on a node; its command is otherwise that of `kedro emr submit`.
"""

import itertools
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fruits_pipeline.emr.artifacts import find_artifacts
from fruits_pipeline.emr.settings import load_settings, read_conf
from fruits_pipeline.emr.steps import step_request

from .cluster import (
    Cluster,
    Job,
    Node,
    Results,
    assert_same,
    assert_same_features,
    download,
    make_environment,
    make_spark_home,
    unpack_project,
    upload,
)
from .outputs import report
from .packed_project import copy_project, make_package
from .s3_proxy import Fault, Request, S3Proxy
from .s3_server import S3Server, free_ports
from .s3a import S3AError, write_spark_conf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the cluster's processes in /proc"),
]

BUCKET = "fruits-cluster"
FEATURES = "--pipelines=ingestion,labeling,featurization"
FACES = ("{} plain.jpg", "é à ü {}.jpg", "{} % of # 100%.JPG", "a+b:c;d@e! [{}].jpg", "{} 果物 {{x}}.jpg")


# ---- a cluster, images, and what a laptop makes of them --------------------------------------------------------------


@pytest.fixture(scope="session")
def names(sample_run) -> dict[str, str]:
    """Names in the bucket, with blanks, accents and worse in them, and the pictures of the sample that they hold."""
    pictures = sorted(path.relative_to(sample_run.images) for path in sample_run.images.glob("*/*.*"))
    faces = itertools.cycle(FACES)
    return {f"{path.parent}/{next(faces).format(number)}": str(path) for number, path in enumerate(pictures)}


@pytest.fixture(scope="session")
def laptop(sample_run) -> Results:
    """The results of the local run."""
    return Results(sample_run.output, f"file:{sample_run.images}/")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, sample_run) -> Path:
    """The project after `make run` and `make package`."""
    folder = copy_project(tmp_path_factory.mktemp("checkout") / "project")
    make_package(folder)
    shutil.copytree(sample_run.output / "06_models" / "encoders", folder / "data" / "06_models" / "encoders")
    return folder


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Scratch space of the workers: a small disk of its own, where this user may mount one."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", folder], capture_output=True)
    yield folder
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def way(s3_server: S3Server) -> Iterator[S3Proxy]:
    """The way of all processes of the cluster to S3."""
    with S3Proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, checkout, disk, s3_server, way) -> Iterator[Cluster]:
    """Two workers with the packaged project."""
    folder = tmp_path_factory.mktemp("cluster")
    port, page = free_ports(2)
    spark_home = make_spark_home(folder / "spark")
    python = make_environment(folder / "environment", next((checkout / "dist").glob("*.whl")), spark_home)
    try:
        conf = write_spark_conf(
            folder / "conf",
            way.endpoint,
            spark__master=f"spark://127.0.0.1:{port}",
            spark__driver__host="127.0.0.1",
            spark__driver__bindAddress="127.0.0.1",
            spark__ui__port=0,
            spark__pyspark__python=python,
            spark__task__cpus=4,  # one Python worker an executor: this machine has few cores
            spark__dynamicAllocation__minExecutors=2,
            spark__hadoop__fs__s3a__buffer__dir=disk / "s3a",
        )
    except S3AError as error:
        pytest.skip(f"no S3A: {error}")
    variables = s3_server.environment(endpoint=way.endpoint)
    role = {name: value for name, value in variables.items() if not name.endswith("_FILE")}  # Java dislikes /dev/null
    node = Node(spark_home, conf, python, disk, role)
    project = unpack_project(checkout / "dist" / "project.tar.gz", folder / "home" / "fruits")
    cluster = Cluster(node, project, folder, port, page)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@dataclass(frozen=True)
class Cloud:
    """The bucket, and an output of this test's own in it."""

    server: S3Server
    way: S3Proxy
    names: dict[str, str]
    prefix: str
    folder: Path

    @property
    def output(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    @property
    def params(self) -> str:
        return f"--params=images=s3://{BUCKET}/fruits/01_raw,output={self.output}"

    def results(self) -> Results:
        """What lies in the bucket now."""
        output = download(self.server, BUCKET, self.prefix, self.folder)
        return Results(output, f"s3://{BUCKET}/fruits/01_raw/", self.names)

    @property
    def committed(self) -> bool:
        """Whether a batch of features is there."""
        return any(key.endswith("/_SUCCESS") for key in self.keys(f"{self.prefix}/04_feature/featurized_images/"))

    def keys(self, prefix: str) -> list[str]:
        pages = self.server.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


@pytest.fixture(scope="session")
def filled(s3_server, sample_run, names, checkout) -> str:
    """The bucket with images, artifacts and encoder, as `kedro emr upload` leaves it."""
    pictures = {f"fruits/01_raw/{name}": (sample_run.images / picture).read_bytes() for name, picture in names.items()}
    s3_server.fill(BUCKET, pictures)
    settings = load_settings(checkout / "conf", "cloud", {"bucket": BUCKET})
    items = find_artifacts(settings, checkout).items(settings)
    s3_server.fill(BUCKET, {item.key: item.path.read_bytes() for item in items})
    return BUCKET


@pytest.fixture
def cloud(s3_server, way, names, filled, cluster, checkout, tmp_path) -> Iterator[Cloud]:
    """An output with nothing but the encoder in it; the cluster whole, and the way to S3 clear."""
    cluster.start()
    yield make_cloud(s3_server, way, names, checkout, tmp_path)
    way.fault = lambda request: Fault()


def make_cloud(server: S3Server, way: S3Proxy, names: dict[str, str], checkout: Path, folder: Path) -> Cloud:
    upload(server, BUCKET, f"{folder.name}/06_models", checkout / "data" / "06_models")
    way.requests.clear()
    return Cloud(server, way, names, folder.name, folder / "downloaded")


# ---- both ways in ----------------------------------------------------------------------------------------------------


def test_nodes_have_neither_pips_pyspark_nor_tensorflow(cluster):
    code = """if True:
        import importlib.util, importlib.metadata, sys
        import fruits_pipeline, pyspark
        for name in ("tensorflow", "keras", "tf2onnx"):
            assert importlib.util.find_spec(name) is None, name
        names = {distribution.metadata["Name"].lower() for distribution in importlib.metadata.distributions()}
        assert not {"pyspark", "tensorflow", "keras"} & names, names
        print(pyspark.__file__, fruits_pipeline.__file__, sep="\\n")
    """
    done = subprocess.run(
        [cluster.node.python, "-c", code], env=cluster.node.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pyspark_file, own_file = done.stdout.splitlines()
    assert pyspark_file.startswith(str(cluster.node.spark_home))
    assert own_file.startswith(str(cluster.node.python.parents[1]))


def commit_of(checkout: Path) -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


def test_kedro_run_on_the_primary_node(cluster, cloud, laptop, checkout):
    """… with nothing but the name of the bucket, which the shells of that node know."""
    cluster.kedro_run(FRUITS_BUCKET=BUCKET).succeed()
    results = replace(cloud, prefix="fruits").results()
    assert_same(laptop, results)
    assert report(results.output)["git_commit"] == commit_of(checkout)  # where no git can be asked


def test_a_step_from_outside(cluster, cloud, laptop, checkout):
    """The command of `kedro emr submit`, but for the deploy mode."""
    settings = load_settings(checkout / "conf", "cloud", {"bucket": BUCKET})
    found, spark = find_artifacts(settings, checkout), read_conf(checkout / "conf", "cloud", "spark")
    request = step_request("j-1", settings, found, spark, f"output={cloud.output}", None)
    program, *arguments = request["Steps"][0]["HadoopJarStep"]["Args"]
    assert (program, arguments[1]) == ("spark-submit", "cluster")
    arguments[1] = "client"
    cluster.spark_submit(*arguments).succeed()
    assert_same(laptop, cloud.results())


# ---- what may go wrong -----------------------------------------------------------------------------------------------


def wait_for(what: Callable[[], bool], job: Job) -> None:
    """Waits for something that happens while a job runs."""
    while not what():
        assert job.process.poll() is None, job.log[-5000:]
        time.sleep(0.02)


def test_a_node_is_lost_while_images_are_read(cluster, cloud, laptop):
    """One of two nodes, as when a Spot instance is taken away; its share of the images is done again elsewhere."""
    lost = []
    # Once a third of the images is read, the others wait until the node is gone.
    cloud.way.fault = lambda request: Fault(delay=5 * (is_image(request) and len(reads(cloud)) > 70 and not lost))
    job = cluster.kedro_run(FEATURES, cloud.params)
    wait_for(lambda: len(reads(cloud)) > 70 and nobody_asks_for_more(cloud), job)
    assert len(cluster.executors()) == 2
    cluster.lose_a_node()
    lost.append(True)
    assert not cloud.committed
    job.succeed()
    assert_same_features(laptop, cloud.results())
    assert len(reads(cloud)) > len(cloud.names), "nothing had to be read again"


def nobody_asks_for_more(cloud: Cloud) -> bool:
    """Whether every node waits for images by now, and none is between two tasks."""
    n_reads = len(reads(cloud))
    time.sleep(1)
    return len(reads(cloud)) == n_reads


def is_image(request: Request) -> bool:
    return request.is_read and "/01_raw/" in request.key


def reads(cloud: Cloud) -> list[str]:
    return [request.key for request in cloud.way.requests if is_image(request)]


# One output that fares ill, three times. The tests belong together, in this order.


@pytest.fixture(scope="module")
def same_cloud(s3_server, way, names, filled, checkout, tmp_path_factory) -> Cloud:
    return make_cloud(s3_server, way, names, checkout, tmp_path_factory.mktemp("unlucky"))


@pytest.fixture
def unlucky(cluster, same_cloud) -> Iterator[Cloud]:
    cluster.start()
    same_cloud.way.requests.clear()
    yield same_cloud
    same_cloud.way.fault = lambda request: Fault()


def test_the_driver_dies_in_the_middle_of_a_batch(cluster, unlucky):
    """Some files of the table are in their place, others are not yet; a reader sees none of them."""
    folder = f"{BUCKET}/{unlucky.prefix}/04_feature/featurized_images/"
    put = []

    def hold_the_third(request: Request) -> Fault:
        if request.method == "PUT" and request.key.startswith(folder) and is_in_place(request.key):
            put.append(request.key)
        return Fault(delay=5 * (len(put) >= 3))

    unlucky.way.fault = hold_the_third
    job = cluster.kedro_run(FEATURES, unlucky.params)
    wait_for(lambda: len(put) >= 3, job)
    job.kill()
    unlucky.way.fault = lambda request: Fault()
    half = [key for key in unlucky.keys(folder.removeprefix(f"{BUCKET}/")) if is_in_place(key)]
    assert len(half) in (2, 3), half
    assert unlucky.results().features.empty


def is_in_place(key: str) -> bool:
    return key.endswith(".parquet")


def test_the_workers_disk_is_full(cluster, unlucky, disk):
    """… from the moment on when all images are read, and rows are to be written."""
    if not disk.is_mount():
        pytest.skip("this user may not mount a disk to fill")
    full = disk / "full"

    def fill(request: Request) -> Fault:
        if is_image(request) and not full.exists():
            with suppress(OSError), full.open("wb") as file:
                while True:
                    file.write(bytes(1_000_000))
        return Fault()

    unlucky.way.fault = fill
    try:
        error = cluster.kedro_run(FEATURES, unlucky.params).error()
    finally:
        full.unlink(missing_ok=True)
    assert "The disk is full" in error
    assert "run the same command again" in error
    assert unlucky.results().features.empty


def test_the_same_command_again_while_s3_is_in_a_bad_state(cluster, unlucky, laptop):
    """All that the dead runs left is no obstacle, and neither is what S3 does to the first request for each thing."""
    bad = BadWeather()
    unlucky.way.fault = bad
    cluster.kedro_run(FEATURES, unlucky.params).succeed()
    assert_same_features(laptop, unlucky.results())
    assert bad.troubled == {(method, fault) for method in ("GET", "PUT", "DELETE") for fault in range(4)}


@dataclass
class BadWeather:
    """The first requests for things are refused or late, or their answers lost, for every third of these things.

    For each one that is deleted: these are few.

    Attributes:
        troubled: Kinds of requests and faults that have met.
    """

    faults = (
        Fault(status=503, code="SlowDown"),
        Fault(delay=0.3),
        Fault(status=500, code="InternalError"),
        Fault(lost=True),
    )
    seen: dict[str, set[str]] = field(default_factory=dict)
    troubled: set[tuple[str, int]] = field(default_factory=set)

    def __call__(self, request: Request) -> Fault:
        things = self.seen.setdefault(request.method, set())
        thing, known = request.key or request.target, len(things)
        things.add(thing)
        every = 1 if request.method == "DELETE" else 3
        if len(things) == known or known % every:
            return Fault()
        kind = known // every % 4
        if request.method in ("GET", "PUT", "DELETE"):
            self.troubled.add((request.method, kind))
        return self.faults[kind]


def test_a_step_that_cannot_begin_says_why(cluster, cloud, checkout):
    """One message below Spark's own lines, and an exit code that EMR takes for a failure."""
    conf = f"s3://{BUCKET}/fruits/artifacts/conf-fruits_pipeline.tar.gz"
    entry = str(checkout / "bootstrap" / "submit.py")
    params = "--params=images=s3://no-such-bucket/x,output=s3://no-such-bucket"
    error = cluster.spark_submit(entry, "--env=cloud", f"--conf-source={conf}", params).error()
    assert "There is no bucket no-such-bucket" in error
