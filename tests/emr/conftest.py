"""Fixtures: settings and prices as committed, a small project to stand in, and an AWS that is moto or nothing."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from botocore.stub import Stubber
from click.testing import CliRunner, Result
from moto import mock_aws

from fruits_pipeline.emr import aws, stack, steps
from fruits_pipeline.emr.cli import emr
from fruits_pipeline.emr.prices import PriceTable, load_prices
from fruits_pipeline.emr.settings import EmrSettings, load_settings

PROJECT = Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"
BUCKET = "fruits-test"
REGION = "eu-west-3"

STORAGE = """
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  BucketName: {Type: String}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Ref BucketName
      PublicAccessBlockConfiguration:
        {BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}
      BucketEncryption:
        ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]
Outputs:
  BucketName: {Value: !Ref Bucket}
  DataAccessPolicyArn: {Value: "arn:aws:iam::123456789012:policy/data"}
"""

CLUSTER = """
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  ClusterName: {Type: String}
  DataAccessPolicyArn: {Type: String}
  NodeSize: {Type: String, Default: xlarge}
  TaskNodes: {Type: Number, Default: 2}
Resources:
  Cluster:
    Type: AWS::EMR::Cluster
    Properties:
      Name: !Ref ClusterName
      ReleaseLabel: emr-7.0.0
      LogUri: s3://fruits-test/fruits/logs/emr/
      JobFlowRole: a
      ServiceRole: b
      Instances:
        keep_job_flow_alive_when_no_steps: true # moto's name for it
        MasterInstanceGroup: {InstanceCount: 1, InstanceType: m5.xlarge}
        CoreInstanceGroup: {InstanceCount: 1, InstanceType: m5.xlarge}
Outputs:
  ClusterId: {Value: !Ref Cluster}
"""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not mocked meets a closed port of this machine, with made-up keys, and nobody waits."""
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL_S3",
        "FRUITS_BUCKET",
        "FRUITS_PREFIX",
    ):
        monkeypatch.delenv(name, raising=False)
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    files = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    for name, value in {**keys, **files, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    for module in (aws, stack, steps):
        monkeypatch.setattr(module, "pause", lambda seconds: None)


@pytest.fixture
def cloud(nowhere: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account that is moto, in this process."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with mock_aws():
        yield


@pytest.fixture(scope="session")
def settings() -> EmrSettings:
    return load_settings(CONF, "cloud", {"bucket": BUCKET})


@pytest.fixture(scope="session")
def prices() -> PriceTable:
    return load_prices(CONF, "cloud")


SESSION = boto3.session.Session(aws_access_key_id="testing", aws_secret_access_key="testing")
"""One for all tests: every new one reads botocore's descriptions of the services again."""


def client(service: str, region: str = REGION) -> Any:
    return SESSION.client(service, region_name=region)


def bucket(name: str = BUCKET) -> Any:
    """A bucket in moto, and the client to look into it."""
    s3 = client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


@pytest.fixture
def stubbed() -> Iterator[Callable[..., Any]]:
    """Makes a client that answers as recorded, and checks requests and answers against botocore's API model."""
    stubbers = []

    def make(service: str, *answers: tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], dict[str, Any]]) -> Any:
        made = client(service)
        stubber = Stubber(made)
        for operation, answer, *expected in answers:
            if "Error" in answer:
                stubber.add_client_error(operation, answer["Error"]["Code"], answer["Error"]["Message"])
            else:
                stubber.add_response(operation, answer, *expected)
        stubber.activate()
        stubbers.append(stubber)
        return made

    yield make
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged project with small templates that moto understands, to stand in."""
    folder = tmp_path / "a project é"
    for env in ("base", "cloud"):
        shutil.copytree(CONF / env, folder / "conf" / env)
    for name, text in {
        "bootstrap/storage.yaml": STORAGE,
        "bootstrap/cluster.yaml": CLUSTER,
        "bootstrap/bootstrap-emr.sh": "#!/bin/sh\n",
        "bootstrap/requirements-emr.txt": "numpy==2\n",
        "bootstrap/submit.py": "print()\n",
        "dist/fruits_pipeline-0.1.0-py3-none-any.whl": "wheel",
        "dist/conf-fruits_pipeline.tar.gz": "conf",
        "data/06_models/encoders/abc.json": "{}",
        "data/06_models/encoders/abc.onnx": "onnx",
        "data/06_models/encoders/current.json": "{}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return folder


Emr = Callable[..., Result]


@pytest.fixture
def run() -> Emr:
    """Runs `kedro emr …` in this process, in the current folder."""

    @click.group()
    def kedro() -> None:
        pass

    kedro.add_command(emr)

    def invoke(*arguments: str, bucket: str | None = BUCKET, typed: str | None = None) -> Result:
        general = [f"--bucket={bucket}"] if bucket else []
        return CliRunner().invoke(kedro, ["emr", *arguments, *general], input=typed, prog_name="kedro")

    return invoke
