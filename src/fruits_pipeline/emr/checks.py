"""Looks, before anything costs money, whether everything is as a run needs it: one line each, with the cure."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from fruits_pipeline.emr.artifacts import ENCODERS, FOLDER, Artifacts
from fruits_pipeline.emr.aws import error_code, explain
from fruits_pipeline.emr.prices import PriceTable
from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.emr.upload import Present, digests, is_present, list_folders, list_present
from fruits_pipeline.errors import FruitsError
from fruits_pipeline.parameters import EncoderParameters
from fruits_pipeline.s3 import EU_REGIONS

UPLOAD_CURE: Final = "kedro emr upload"
DEPLOY_CURE: Final = "kedro emr deploy (its storage stack sets it)"

SPARK_HOMES: Final = [Path("/usr/lib/spark"), Path("/usr/lib/hadoop")]
"""Where EMR keeps Spark and Hadoop; elsewhere SPARK_HOME says it."""

QUOTAS: Final = {"on-demand": "L-1216C47A", "Spot": "L-34B43A08"}
"""vCPUs of standard (A, C, D, H, I, M, R, T, Z) instances that may run at once; codes of the service `ec2`."""


class State(Enum):
    """How a check came out."""

    OK = "✓"
    FAILED = "✗"
    UNKNOWN = "–"


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, how it came out, what was seen, and what mends it."""

    name: str
    state: State
    seen: str
    cure: str = ""

    def __str__(self) -> str:
        """For a person."""
        line = f"{self.state.value} {self.name}: {self.seen}"
        return f"{line}\n    → {self.cure}" if self.state is State.FAILED and self.cure else line


Finding = Callable[[], Check]


def ok(name: str, seen: str) -> Check:
    """It is as it must be."""
    return Check(name, State.OK, seen)


def failed(name: str, seen: str, cure: str) -> Check:
    """It is not."""
    return Check(name, State.FAILED, seen, cure)


def unknown(name: str, seen: str) -> Check:
    """It cannot be seen from here."""
    return Check(name, State.UNKNOWN, seen)


def tried(name: str, look: Finding) -> Check:
    """A check whose questions AWS may refuse: the refusal is its outcome."""
    try:
        return look()
    except FruitsError as error:
        return failed(name, *_split(str(error)))
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        return failed(name, *_split(message))


def _split(message: str) -> tuple[str, str]:
    first, _, rest = message.partition("\n")
    return first, rest.replace("\n", " ")


def run_checks(groups: Iterable[Iterable[tuple[str, Finding]]], told: Callable[[Check], None]) -> list[Check]:
    """Runs groups of checks; where the first of a group fails, the others of all later groups cannot be looked at.

    Args:
        groups: Names and functions. The first check of each group is the condition of all that follow.
        told: Called with each outcome.

    Returns:
        All outcomes.
    """
    outcomes: list[Check] = []
    blocked = ""
    for group in groups:
        for position, (name, look) in enumerate(group):
            check = unknown(name, f"cannot be seen before “{blocked}” is mended") if blocked else tried(name, look)
            if position == 0 and check.state is State.FAILED and not blocked:
                blocked = name
            outcomes.append(check)
            told(check)
    return outcomes


# ---- the account and this machine ------------------------------------------------------------------------------------


def check_credentials(sts: Any) -> Check:
    """Somebody is logged in."""
    found = sts.get_caller_identity()
    return ok("credentials", f"account {found['Account']}, {found['Arn'].rsplit(':', 1)[-1]}")


def check_region(settings: EmrSettings) -> Check:
    """The settings refuse regions outside the European Union before this is reached."""
    return ok("region", f"{settings.region} ({EU_REGIONS[settings.region]}), in the European Union")


def check_python(settings: EmrSettings, version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """The environment here is the one that was tested against the cluster's Python."""
    here, there = ".".join(map(str, version)), settings.cluster.python
    if here == there:
        return ok("Python", f"{here} here and on {settings.cluster.release}")
    cure = f"make setup PYTHON=/path/to/python{there}, or set cluster.python if the release has {here}"
    return failed("Python", f"{here} here, {there} on {settings.cluster.release}", cure)


def check_quota(quotas: Any, settings: EmrSettings, prices: PriceTable) -> Check:
    """The account may start as many vCPUs as managed scaling may want."""
    cluster = settings.cluster
    per_node = prices.vcpus(cluster.node_type)
    tasks = (cluster.max_nodes - cluster.core_nodes) * per_node
    base = prices.vcpus(cluster.primary_type) + cluster.core_nodes * per_node
    wanted = {"on-demand": base + (0 if cluster.spot else tasks), "Spot": tasks if cluster.spot else 0}
    try:
        allowed = {kind: _quota(quotas, code) for kind, code in QUOTAS.items()}
    except Exception as error:
        return unknown(
            "quotas", f"cannot be read ({error_code(error) or type(error).__name__}); look at Service Quotas, EC2"
        )
    seen = ", ".join(f"{kind} {wanted[kind]} of {allowed[kind]:.0f} vCPU" for kind in QUOTAS)
    if all(wanted[kind] <= allowed[kind] for kind in QUOTAS):
        return ok("quotas", seen)
    return failed("quotas", seen, "ask for more under Service Quotas (EC2, standard instances), or lower --max-nodes")


def _quota(quotas: Any, code: str) -> float:
    return float(quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"])


# ---- the bucket ------------------------------------------------------------------------------------------------------


def check_bucket(s3: Any, settings: EmrSettings) -> Check:
    """The bucket is there, is ours to see, and lies in the settings' region."""
    bucket = settings.the_bucket
    try:
        found = s3.head_bucket(Bucket=bucket).get("BucketRegion")
        region = found or s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1"
    except Exception as error:
        return _no_bucket(error, bucket)
    if region == settings.region:
        return ok("bucket", f"s3://{bucket} in {region}")
    known = region in EU_REGIONS
    cure = f"give --region={region}" if known else "use a bucket in the European Union, where the data must stay"
    return failed("bucket", f"s3://{bucket} lies in {region}, the cluster would be in {settings.region}", cure)


def _no_bucket(error: Exception, bucket: str) -> Check:
    """A HEAD has no message, only a number."""
    code = error_code(error)
    if code in ("404", "NoSuchBucket"):
        return failed("bucket", f"there is no s3://{bucket}", "kedro emr deploy makes it; or correct FRUITS_BUCKET")
    if code in ("403", "AccessDenied"):
        cure = "choose another name (names are unique in the whole world), or ask its owner for s3:ListBucket"
        return failed("bucket", f"s3://{bucket} is not yours, or you may not see it", cure)
    raise error


def check_public_access(s3: Any, settings: EmrSettings) -> Check:
    """All four locks against public access are closed."""
    try:
        found = s3.get_public_access_block(Bucket=settings.the_bucket)["PublicAccessBlockConfiguration"]
    except Exception as error:
        if error_code(error) != "NoSuchPublicAccessBlockConfiguration":
            raise
        found = {}
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    open_ones = [name for name in names if not found.get(name)]
    if not open_ones:
        return ok("public access", "blocked")
    return failed("public access", f"not blocked: {', '.join(open_ones)}", DEPLOY_CURE)


def check_encryption(s3: Any, settings: EmrSettings) -> Check:
    """What is stored is encrypted."""
    try:
        rules = s3.get_bucket_encryption(Bucket=settings.the_bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except Exception as error:
        if error_code(error) != "ServerSideEncryptionConfigurationNotFoundError":
            raise
        rules = []
    kinds = [rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules]
    return ok("encryption", ", ".join(kinds)) if kinds else failed("encryption", "none by default", DEPLOY_CURE)


def check_python_s3(s3: Any, settings: EmrSettings) -> Check:
    """The S3 stacks of Python can list, write, read and delete: boto3 (uploads), s3fs (reports), obstore (images)."""
    import fsspec

    from fruits_pipeline.s3 import read_object

    name = "S3 from Python (boto3, s3fs, obstore)"
    bucket, key = settings.the_bucket, settings.key(f".check-{uuid.uuid4().hex}")
    content = uuid.uuid4().bytes
    s3.put_object(Bucket=bucket, Key=key, Body=b"to be replaced")
    try:
        s3fs = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
        s3fs.pipe_file(f"{bucket}/{key}", content)
        seen = {
            "s3fs lists": s3fs.find(f"{bucket}/{key}") == [f"{bucket}/{key}"],
            "boto3 lists": list(list_present(s3, bucket, key)) == [key],
            "boto3 reads": s3.get_object(Bucket=bucket, Key=key)["Body"].read() == content,
            "obstore reads": read_object(bucket, key) == content,
        }
    finally:
        s3.delete_object(Bucket=bucket, Key=key)
    wrong = [what for what, is_so in seen.items() if not is_so]
    if not wrong:
        return ok(name, "list, write, read, delete")
    return failed(
        name, f"not so: {', '.join(wrong)}", "do all use one endpoint? Look at the variables AWS_ENDPOINT_URL*"
    )


def check_spark_s3(settings: EmrSettings) -> Check:
    """The S3 stack of Spark can list, write and delete: only where a Spark with hadoop-aws is (on a cluster it is)."""
    name = "S3 from Spark (S3A)"
    if not has_s3a():
        return unknown(
            name, "no hadoop-aws here; on the cluster it is there. Run this check on the primary node to see it"
        )
    uri = settings.uri(f".check-{uuid.uuid4().hex}").replace("s3://", "s3a://", 1)
    done = subprocess.run(
        [sys.executable, "-m", "fruits_pipeline.emr.s3a_probe", uri],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode == 0:
        return ok(name, "lists, writes, deletes")
    seen = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return failed(
        name, seen, "may the role list, write and delete below the prefix? (bootstrap/storage.yaml, its policy)"
    )


def has_s3a() -> bool:
    """Whether a Spark with Hadoop's S3A is installed, or its configuration names the jars."""
    conf = Path(os.environ.get("SPARK_CONF_DIR", "/nowhere")) / "spark-defaults.conf"
    if conf.is_file() and "hadoop-aws" in conf.read_text(encoding="utf-8", errors="replace"):
        return True
    homes = [*SPARK_HOMES, *([Path(home)] if (home := os.environ.get("SPARK_HOME")) else [])]
    return any(True for home in homes for _ in home.glob("**/hadoop-aws*.jar"))


# ---- what must be in the bucket --------------------------------------------------------------------------------------


def check_artifacts(s3: Any, settings: EmrSettings, find: Callable[[], Artifacts]) -> Check:
    """Wheel, configuration, entry script and bootstrap script are in the bucket, as they are here."""
    name = "artifacts"
    items = find().items(settings)
    present = list_folders(s3, settings.the_bucket, [settings.key(FOLDER, ""), settings.key(ENCODERS, "")])
    missing = [item.path.name for item in items if item.key not in present]
    if missing:
        return failed(name, f"not in the bucket: {', '.join(missing)}", UPLOAD_CURE)
    old = [
        item.path.name for item in items if not is_present(s3, settings.the_bucket, item, *digests(item.path), present)
    ]
    if old:
        return failed(name, f"other than here: {', '.join(old)}", UPLOAD_CURE)
    return ok(name, f"{len(items)} files, as here")


def check_encoder(s3: Any, settings: EmrSettings, wanted: EncoderParameters) -> Check:
    """The network is exported and in the bucket; else a cluster without TensorFlow cannot begin."""
    import json

    from fruits_pipeline.encoders.card import EncoderCard, is_same_encoder
    from fruits_pipeline.encoders.weights import find_weights

    name, bucket = "encoder", settings.the_bucket
    present = list_present(s3, bucket, settings.key(ENCODERS, ""))
    weights = find_weights(wanted.weights, wanted.alpha)
    for key in present:
        if key.endswith(".json") and not key.endswith("current.json"):
            card = EncoderCard.from_dict(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
            if is_same_encoder(card, wanted, weights) and _payload(key, present):
                return ok(name, card.summary)
    cure = "kedro run here once exports it (which needs TensorFlow), then kedro emr upload"
    return failed(
        name, f"{wanted.name} alpha {wanted.alpha:g}, weights {wanted.weights}, is not exported in the bucket", cure
    )


def _payload(card_key: str, present: dict[str, Present]) -> bool:
    stem = card_key.removesuffix(".json")
    return any(f"{stem}{suffix}" in present for suffix in (".onnx", ".safetensors"))
