"""The settings of the cluster: `conf/<env>/emr.yml`, then FRUITS_BUCKET and FRUITS_PREFIX, then options."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fruits_pipeline.errors import InputError
from fruits_pipeline.s3 import EU_REGIONS

BUCKET_VARIABLE: Final = "FRUITS_BUCKET"
PREFIX_VARIABLE: Final = "FRUITS_PREFIX"
"""Both as in conf/cloud/globals.yml, which tells a run on the cluster the same."""

NODE_SIZES: Final = ("xlarge", "2xlarge", "4xlarge")

Model = TypeVar("Model", bound=BaseModel)


def _in_the_eu(region: str) -> str:
    if region not in EU_REGIONS:
        raise ValueError(f"{region} is no region of the European Union; use one of {', '.join(EU_REGIONS)}")
    return region


def _as_bucket(bucket: str | None) -> str | None:
    """A bucket's name, with `s3://` and slashes forgiven.

    Amazon's rules, without dots: names with dots break TLS (docs.aws.amazon.com/AmazonS3/latest/userguide/
    bucketnamingrules.html).
    """
    if bucket is None:
        return None
    name = bucket.removeprefix("s3://").strip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name):
        raise ValueError(f"{bucket!r} is no name of a bucket: 3 to 63 lower-case letters, digits and hyphens")
    return name


def _as_prefix(prefix: str) -> str:
    name = prefix.strip("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", name):
        raise ValueError(f"{prefix!r} is no prefix: letters, digits, '-', '_', and '/' in between")
    return name


class _Settings(BaseModel):
    """Frozen, and strict about names: a misspelt setting is an error, not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cluster(_Settings):
    """What the cluster consists of.

    Attributes:
        release: EMR's release label.
        python: Version of the Python on the nodes, `major.minor`; that of the release.
        primary_type: Instance type of the primary node.
        node_family: Instance family of the core and task nodes that the plan counts with; the template also allows
            its nearest relatives, because Spot capacity of one type runs out.
        node_size: Size of core and task nodes.
        core_nodes: On-demand nodes that hold HDFS and the driver.
        task_nodes: Nodes at the start that only compute.
        max_nodes: Core and task nodes that managed scaling may start together.
        spot: Whether task nodes are Spot instances.
        idle_minutes: After so long without work the cluster ends itself.
        volume_gb: Disk of each node, in GB.
    """

    release: Annotated[str, Field(pattern=r"^emr-[a-z0-9.-]+$")]
    python: Annotated[str, Field(pattern=r"^3\.\d+$")]
    primary_type: Annotated[str, Field(pattern=r"^[a-z0-9-]+\.\d*x?large$")]
    node_family: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    node_size: Literal["xlarge", "2xlarge", "4xlarge"]
    core_nodes: int = Field(ge=1, le=100)
    task_nodes: int = Field(ge=1, le=100)
    max_nodes: int = Field(ge=2, le=100)
    spot: bool
    idle_minutes: int = Field(ge=1, le=7 * 24 * 60)
    volume_gb: int = Field(ge=32, le=1000)

    @property
    def node_type(self) -> str:
        """Instance type of core and task nodes."""
        return f"{self.node_family}.{self.node_size}"

    @property
    def nodes(self) -> int:
        """Core and task nodes at the start."""
        return self.core_nodes + self.task_nodes

    @model_validator(mode="after")
    def _fits(self) -> Cluster:
        if self.max_nodes < self.nodes:
            raise ValueError(f"max_nodes ({self.max_nodes}) is less than core_nodes + task_nodes ({self.nodes})")
        return self


class Assumptions(_Settings):
    """What the plan takes for granted where nothing can be measured beforehand.

    Attributes:
        speed_per_vcpu: What one vCPU of the cluster does compared with one core of the machine that measures. A vCPU
            of the Intel families is half a core.
        efficiency: Share of the computing time that is spent on images.
        startup_minutes: From `deploy` to the first task, with the nodes already paid for.
        fixed_minutes: Listing, scaling, PCA and reports of a run.
        memory_per_vcpu_gb: Of a worker of EMR Serverless.
    """

    speed_per_vcpu: float = Field(gt=0, le=2)
    efficiency: float = Field(gt=0, le=1)
    startup_minutes: float = Field(ge=0)
    fixed_minutes: float = Field(ge=0)
    memory_per_vcpu_gb: float = Field(ge=1, le=8)


class Artifacts(_Settings):
    """Local files that a cluster needs, relative to the project; of several matches the newest counts.

    Attributes:
        templates: Folder of the CloudFormation templates.
        bootstrap: The script that makes the environment on each node.
        requirements: Pinned, hash-checked packages of the nodes.
        wheel: The packaged project.
        conf: Its configuration.
        entry: The script that spark-submit starts.
        wheelhouse: Folder of wheels for clusters without internet; left out when it does not exist.
        primary_requirements: Packages of the primary node (JupyterLab); left out when it does not exist.
        project: Archive of conf and notebooks for the primary node; left out when it does not exist.
        encoders: Folder of exported encoders; a cluster that finds its own there needs no TensorFlow.
    """

    templates: str
    bootstrap: str
    requirements: str
    wheel: str
    conf: str
    entry: str
    wheelhouse: str
    primary_requirements: str
    project: str
    encoders: str


class EmrSettings(_Settings):
    """All of `conf/<env>/emr.yml`.

    Attributes:
        name: Of the cluster; its stacks are `<name>-cluster` and `<name>-serverless`.
        region: AWS region, in the European Union.
        bucket: Name of the bucket; FRUITS_BUCKET or `--bucket` give it too.
        prefix: Folder in the bucket, without slashes at its ends.
        storage_stack: Stack of the bucket; one for all clusters that use it.
        budget_stack: Stack of the budget; one for the account.
        budget_usd: Monthly budget with an alarm, in USD.
        budget_email: Who gets the alarm.
        cluster: Machines and release.
        assumptions: Of the plan.
        artifacts: Local files that a cluster needs.
        template_parameters: Further parameters of the CloudFormation templates, by name.
    """

    name: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{0,40}$")]
    region: Annotated[str, AfterValidator(_in_the_eu)]
    bucket: Annotated[str | None, AfterValidator(_as_bucket)] = None
    prefix: Annotated[str, AfterValidator(_as_prefix)]
    storage_stack: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{0,50}$")]
    budget_stack: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{0,50}$")]
    budget_usd: float = Field(gt=0)
    budget_email: str | None = None
    cluster: Cluster
    assumptions: Assumptions
    artifacts: Artifacts
    template_parameters: dict[str, str] = Field(default_factory=dict)

    @property
    def the_bucket(self) -> str:
        """The bucket's name.

        Raises:
            InputError: If nobody named one.
        """
        if self.bucket is None:
            raise InputError(
                f"Which bucket? Set {BUCKET_VARIABLE} (export {BUCKET_VARIABLE}=my-bucket), give --bucket=my-bucket, "
                "or name it in conf/cloud/emr.yml. Names of buckets are unique in the whole world."
            )
        return self.bucket

    def uri(self, *parts: str) -> str:
        """`s3://bucket/prefix/part/…`."""
        return "/".join((f"s3://{self.the_bucket}", self.key(*parts)))

    def key(self, *parts: str) -> str:
        """`prefix/part/…`."""
        return "/".join((self.prefix, *parts))

    def stack(self, part: str) -> str:
        """Name of the stack of `storage`, `budget`, `cluster` or `serverless`."""
        shared = {"storage": self.storage_stack, "budget": self.budget_stack}
        return shared.get(part, f"{self.name}-{part}")


CLUSTER_OPTIONS: Final = frozenset(Cluster.model_fields)


def load_settings(conf_source: Path, env: str, options: Mapping[str, Any]) -> EmrSettings:
    """Reads `conf/<env>/emr.yml` and lets the environment and the options have the last word.

    Args:
        conf_source: The project's `conf`, a folder or an archive of it.
        env: `cloud`, usually.
        options: Settings that are not None override; those of `Cluster` by their own names.

    Returns:
        The settings.

    Raises:
        InputError: If the file is not there, or a setting is out of range or unknown.
    """
    settings = read_conf(conf_source, env, "emr")
    given = {name: value for name, value in options.items() if value is not None}
    cluster = {**settings.get("cluster", {}), **{name: given.pop(name) for name in CLUSTER_OPTIONS & set(given)}}
    variables = {"bucket": os.environ.get(BUCKET_VARIABLE), "prefix": os.environ.get(PREFIX_VARIABLE)}
    named = {name: value for name, value in variables.items() if value}
    return validated(EmrSettings, {**settings, **named, **given, "cluster": cluster}, f"conf/{env}/emr.yml")


def read_conf(conf_source: Path, env: str, name: str) -> dict[str, Any]:
    """Reads `<name>.yml` of an environment as Kedro would, globals included.

    Args:
        conf_source: A folder or an archive.
        env: Of the environment; `base` is read below it.
        name: `emr`, `prices`, `spark` or `parameters`.

    Returns:
        The plain values.

    Raises:
        InputError: If there is no such file, or it is no YAML.
    """
    from kedro.config import MissingConfigException, OmegaConfigLoader

    from fruits_pipeline.settings import CONFIG_LOADER_ARGS

    arguments: dict[str, Any] = dict(CONFIG_LOADER_ARGS)
    patterns = {**arguments.pop("config_patterns", {}), "emr": ["emr.yml"], "prices": ["prices.yml"]}
    where = conf_source / env
    try:
        loader = OmegaConfigLoader(str(conf_source), env=env, config_patterns=patterns, **arguments)
        values: dict[str, Any] = loader[name]
    except (MissingConfigException, FileNotFoundError) as error:
        raise InputError(
            f"There is no {where}/{name}.yml. Start the command in the project's folder, or name its conf with "
            "--conf-source and --env."
        ) from error
    except Exception as error:  # OmegaConf, YAML and Kedro each have errors of their own
        raise InputError(f"{where}/{name}.yml cannot be read: {error}") from error
    return values


def validated(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Makes a model, or says which setting is wrong.

    Args:
        model: Class of the settings.
        values: What was read and given.
        where: The file that a person would look into.

    Returns:
        The frozen settings.

    Raises:
        InputError: One line a setting: its name, what is wrong, what was given.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, found['loc']))}: {found['msg'].removeprefix('Value error, ')} "
            f"(given: {found['input']!r})"
            for found in error.errors()
        ]
        raise InputError("\n".join([f"Settings out of range or unknown ({where} and options):", *lines])) from None
