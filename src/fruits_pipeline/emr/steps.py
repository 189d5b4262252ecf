"""Work on a cluster: a step is added, watched, and its logs are read from the bucket."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fruits_pipeline.emr.artifacts import FOLDER, RAW, Artifacts
from fruits_pipeline.emr.aws import error_code, pause, say
from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError

POLL_SECONDS: Final = 15.0
TELL_SECONDS: Final = 60.0
ALIVE: Final = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
ENDED: Final = ("COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED")
MAX_ARGUMENTS: Final = 10_240
"""Characters of all strings of a step (docs.aws.amazon.com/emr/latest/APIReference/API_AddJobFlowSteps.html)."""

LOCAL_ONLY: Final = ("spark.master", "spark.driver.bindAddress", "spark.driver.host", "spark.driver.extraJavaOptions")
"""Of conf/base/spark.yml, what would tie a driver on a cluster to its own loopback, or to a laptop's JVM."""


@dataclass(frozen=True)
class Cluster:
    """A cluster as EMR describes it: id, name, state with EMR's reason, the URI of its logs, and when it was made."""

    id: str
    name: str
    state: str
    reason: str
    log_uri: str
    made: datetime | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it takes steps, and costs money."""
        return self.state in ALIVE


@dataclass(frozen=True)
class Step:
    """A step as EMR describes it: id, name, state, and why it failed."""

    id: str
    name: str
    state: str
    reason: str

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED


def describe_cluster(client: Any, cluster_id: str) -> Cluster:
    """Asks EMR for a cluster.

    Raises:
        InputError: If there is no such cluster in this region.
    """
    try:
        found = client.describe_cluster(ClusterId=cluster_id)["Cluster"]
    except Exception as error:
        if error_code(error) in ("InvalidRequestException", "ResourceNotFoundException"):
            raise InputError(f"There is no cluster {cluster_id} in this region. kedro emr deploy makes one.") from error
        raise
    status = found.get("Status", {})
    reason = status.get("StateChangeReason", {}).get("Message", "")
    made = status.get("Timeline", {}).get("CreationDateTime")
    return Cluster(found["Id"], found.get("Name", ""), status.get("State", "?"), reason, found.get("LogUri", ""), made)


def describe_step(client: Any, cluster_id: str, step_id: str) -> Step:
    """Asks EMR for a step."""
    found = client.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]
    return _step(found)


def latest_step(client: Any, cluster_id: str) -> Step:
    """The step that was added last.

    Raises:
        InputError: If the cluster has had none.
    """
    steps = client.list_steps(ClusterId=cluster_id)["Steps"]
    if not steps:
        raise InputError(f"Cluster {cluster_id} has no steps yet. kedro emr submit adds one.")
    return _step(max(steps, key=lambda step: step["Status"]["Timeline"]["CreationDateTime"]))


def _step(found: Mapping[str, Any]) -> Step:
    status = found.get("Status", {})
    details, change = status.get("FailureDetails", {}), status.get("StateChangeReason", {})
    reason = " ".join(part for part in (details.get("Reason"), details.get("Message"), change.get("Message")) if part)
    return Step(found["Id"], found.get("Name", ""), status.get("State", "?"), reason)


def step_request(
    cluster_id: str,
    settings: EmrSettings,
    artifacts: Artifacts,
    spark: Mapping[str, Any],
    params: str,
    pipelines: str | None,
    env: str = "cloud",
) -> dict[str, Any]:
    """Arguments of `add_job_flow_steps`: one spark-submit in cluster mode.

    Args:
        cluster_id: Where to.
        settings: Bucket and prefix.
        artifacts: For the names of entry script and configuration.
        spark: Of conf/<env>/spark.yml.
        params: As for `kedro run --params`.
        pipelines: As for `kedro run --pipelines`.
        env: As for `kedro run --env`.

    Returns:
        The request.

    Raises:
        InputError: If the arguments are longer than EMR takes.
    """
    conf = [part for key, value in spark_settings(spark).items() for part in ("--conf", f"{key}={value}")]
    conf_source = settings.uri(FOLDER, artifacts.conf.name)  # Kedro reads it there: no file need be sent along
    run = [f"--env={env}", f"--conf-source={conf_source}", f"--params={with_roots(params, settings)}"]
    arguments = [
        *("spark-submit", "--deploy-mode", "cluster", "--name", "fruits_pipeline"),
        *conf,
        settings.uri(FOLDER, artifacts.entry.name),
        *run,
        *([f"--pipelines={pipelines}"] if pipelines else []),
    ]
    if sum(map(len, arguments)) > MAX_ARGUMENTS - 200:  # the step's other strings count too
        raise InputError(f"The step's arguments exceed EMR's {MAX_ARGUMENTS:,} characters: shorten --params.")
    step = {
        "Name": f"fruits_pipeline {pipelines or 'run'}",
        "ActionOnFailure": "CONTINUE",  # the cluster stays for a second try; it ends itself when idle
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": arguments},
    }
    return {"JobFlowId": cluster_id, "Steps": [step]}


def spark_settings(spark: Mapping[str, Any]) -> dict[str, str]:
    """Spark's settings as spark-submit takes them, without those that only a local run needs, and without nulls."""
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in spark.items()
        if value is not None and key not in LOCAL_ONLY
    }


def with_roots(params: str, settings: EmrSettings) -> str:
    """Adds where images and results are, unless `--params` says so itself."""
    given = [part for part in params.split(",") if part.strip()]
    names = {re.split(r"[=:]", part, maxsplit=1)[0].strip() for part in given}
    roots = {"images": settings.uri(RAW), "output": settings.uri().rstrip("/")}
    return ",".join([*(f"{name}={value}" for name, value in roots.items() if name not in names), *given])


def watch_step(client: Any, cluster_id: str, step_id: str, tell: Callable[[], None] = lambda: None) -> Step:
    """Waits for a step, telling its state when it changes and once a minute.

    Args:
        client: Of EMR.
        cluster_id: Where it runs.
        step_id: Which.
        tell: Called once a minute, for news from the logs.

    Returns:
        The finished step.
    """
    begun, told, state = time.monotonic(), 0.0, ""
    while True:
        step, now = describe_step(client, cluster_id, step_id), time.monotonic()
        if step.state != state or now - told >= TELL_SECONDS:
            say(f"{time.strftime('%H:%M:%S')}  {step.state:<9}  watched for {(now - begun) / 60:.0f} min")
            if state:
                tell()
            told, state = now, step.state
        if step.is_over:
            return step
        pause(POLL_SECONDS)


def exit_code(step: Step, log: Sequence[str]) -> int:
    """The step's own exit code: 0 when it completed, the one its controller noted, else 1."""
    if step.state == "COMPLETED":
        return 0
    noted = re.findall(r"exit ?code:? (\d+)", "\n".join([step.reason, *log]), re.IGNORECASE)
    return next((int(code) for code in noted if 0 < int(code) < 256), 1)


def step_log(client: Any, cluster: Cluster, step_id: str, name: str) -> list[str]:
    """Lines of one of a step's logs (`controller`, `stderr`, `stdout`); EMR copies them every five minutes.

    Returns:
        The lines; none while there is no log.
    """
    bucket, prefix = _bucket_and_prefix(cluster.log_uri)
    return _read_log(client, bucket, f"{prefix}{cluster.id}/steps/{step_id}/{name}.gz") if bucket else []


def driver_log(client: Any, cluster: Cluster, step_log_lines: Sequence[str]) -> list[str]:
    """Lines of the driver's own log, which in cluster mode is that of the application's first container.

    Args:
        client: Of S3.
        cluster: For the place of the logs.
        step_log_lines: The step's stderr, in which spark-submit names the application.

    Returns:
        The lines; none while there is no log.
    """
    names = re.findall(r"application_\d+_\d+", "\n".join(step_log_lines))
    bucket, prefix = _bucket_and_prefix(cluster.log_uri)
    if not names or not bucket:
        return []
    folder = f"{prefix}{cluster.id}/containers/{names[-1]}/"
    listed = client.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", [])
    keys = [item["Key"] for item in listed if re.search(r"_000001/stderr(\.gz)?$", item["Key"])]
    return _read_log(client, bucket, keys[-1]) if keys else []


def _bucket_and_prefix(uri: str) -> tuple[str, str]:
    """EMR says s3n:// where it was told s3://."""
    bucket, _, prefix = re.sub(r"^s3[an]?://", "", uri).partition("/")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def _read_log(client: Any, bucket: str, key: str) -> list[str]:
    try:
        content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except Exception as error:
        if error_code(error) in ("NoSuchKey", "404"):
            return []
        raise
    return _unzipped(content).decode("utf-8", "replace").splitlines()


def _unzipped(content: bytes) -> bytes:
    """Of a log that is still growing, as much as there is."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    decompressor = zlib.decompressobj(wbits=31)
    try:
        return decompressor.decompress(content)
    except zlib.error:
        return b""
