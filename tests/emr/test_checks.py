"""Checks: each seen to pass, and to fail with its cure."""

import sys
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from fruits_pipeline.emr import checks, s3a_probe
from fruits_pipeline.emr.artifacts import find_artifacts
from fruits_pipeline.emr.checks import State
from fruits_pipeline.emr.upload import list_present, upload
from fruits_pipeline.encoders.card import EncoderCard
from fruits_pipeline.encoders.weights import find_weights
from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import EncoderParameters

from .conftest import BUCKET, client
from .conftest import bucket as make_bucket

WANTED = EncoderParameters(name="MobileNetV2", alpha=0.35, weights="bundled", engine="onnx", precision="float32")


# ---- the account and this machine ------------------------------------------------------------------------------------


def test_who_is_logged_in(stubbed):
    who = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ada", "UserId": "x"}
    found = checks.check_credentials(stubbed("sts", ("get_caller_identity", who)))
    assert str(found) == "✓ credentials: account 123456789012, user/ada"


def test_an_expired_login_is_a_failed_check_with_its_cure(stubbed):
    expired = ("get_caller_identity", {"Error": {"Code": "ExpiredToken", "Message": "x"}})
    found = checks.tried("credentials", lambda: checks.check_credentials(stubbed("sts", expired)))
    assert found.state is State.FAILED
    assert "✗ credentials: Your AWS login has expired." in str(found)
    assert "aws sso login" in found.cure


@pytest.mark.parametrize(("version", "state"), [((3, 11), State.OK), ((3, 13), State.FAILED)])
def test_python_versions(settings, version, state):
    found = checks.check_python(settings, version)
    assert found.state is state
    assert ("python3.11" in found.cure) is (state is State.FAILED)


def quota(value):
    return ("get_service_quota", {"Quota": {"Value": value}})


@pytest.mark.parametrize(
    ("on_demand", "spot", "state"), [(8, 36, State.OK), (7, 36, State.FAILED), (8, 35, State.FAILED)]
)
def test_quotas_are_compared_with_what_scaling_may_want(settings, prices, stubbed, on_demand, spot, state):
    """Primary 4 + core 4 on-demand; 9 more nodes of 4 vCPU on Spot."""
    found = checks.check_quota(stubbed("service-quotas", quota(on_demand), quota(spot)), settings, prices)
    assert found.state is state
    assert "8 of" in found.seen
    assert "36 of" in found.seen


def test_without_spot_all_is_on_demand(settings, prices, stubbed):
    cluster = settings.cluster.model_copy(update={"spot": False})
    found = checks.check_quota(
        stubbed("service-quotas", quota(43), quota(0)), settings.model_copy(update={"cluster": cluster}), prices
    )
    assert (found.state, "44 of 43" in found.seen) == (State.FAILED, True)


def test_quotas_that_may_not_be_read_are_unknown(settings, prices, stubbed):
    refused = ("get_service_quota", {"Error": {"Code": "AccessDeniedException", "Message": "x"}})
    assert checks.check_quota(stubbed("service-quotas", refused), settings, prices).state is State.UNKNOWN


# ---- the bucket ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cloud")
class TestBucket:
    def test_it_is_there(self, settings):
        assert checks.check_bucket(make_bucket(), settings).state is State.OK

    def test_it_is_missing(self, settings):
        found = checks.check_bucket(client("s3"), settings)
        assert found.state is State.FAILED
        assert "kedro emr deploy" in found.cure

    @pytest.mark.parametrize(
        ("region", "cure"), [("eu-north-1", "--region=eu-north-1"), ("us-west-2", "European Union")]
    )
    def test_it_lies_elsewhere(self, settings, region, cure):
        client("s3", region).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
        found = checks.check_bucket(client("s3"), settings)
        assert (found.state, cure in found.cure) == (State.FAILED, True)

    def test_public_access_must_be_blocked_altogether(self, settings):
        s3 = make_bucket()
        assert checks.check_public_access(s3, settings).state is State.FAILED
        locks = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=locks)
        assert checks.check_public_access(s3, settings).state is State.OK
        for lock in locks:
            s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration={**locks, lock: False})
            found = checks.check_public_access(s3, settings)
            assert (found.state, found.seen) == (State.FAILED, f"not blocked: {lock}")

    def test_encryption(self, settings):
        s3 = make_bucket()
        s3.delete_bucket_encryption(Bucket=BUCKET)
        assert checks.check_encryption(s3, settings).state is State.FAILED
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
        assert checks.check_encryption(s3, settings).seen == "aws:kms"

    def test_artifacts_must_be_there_and_the_same(self, settings, project):
        s3 = make_bucket()

        def look():
            return checks.check_artifacts(s3, settings, lambda: find_artifacts(settings, project))

        assert "not in the bucket: bootstrap-emr.sh" in look().seen
        upload(s3, BUCKET, find_artifacts(settings, project).items(settings), {})
        assert look().state is State.OK
        (project / "bootstrap" / "submit.py").write_text("print('changed')\n")
        assert (look().state, look().seen) == (State.FAILED, "other than here: submit.py")
        assert look().cure == "kedro emr upload"

    def put_encoder(self, s3, card, suffix=".onnx"):
        import json

        stem = f"fruits/06_models/encoders/{card.fingerprint}"
        s3.put_object(Bucket=BUCKET, Key=f"{stem}.json", Body=json.dumps(card.to_dict()).encode())
        if suffix:
            s3.put_object(Bucket=BUCKET, Key=f"{stem}{suffix}", Body=b"network")

    def test_the_encoder_must_be_the_one_that_is_wanted_and_whole(self, settings):
        s3 = make_bucket()
        card = EncoderCard("MobileNetV2", 0.35, "onnx", "bundled", find_weights("bundled", 0.35).sha256)
        self.put_encoder(s3, replace(card, alpha=0.5))
        assert checks.check_encoder(s3, settings, WANTED).state is State.FAILED
        self.put_encoder(s3, card, suffix="")
        assert checks.check_encoder(s3, settings, WANTED).state is State.FAILED
        self.put_encoder(s3, card)
        assert checks.check_encoder(s3, settings, WANTED).state is State.OK


def test_a_bucket_of_somebody_else(settings, stubbed):
    found = checks.check_bucket(
        stubbed("s3", ("head_bucket", {"Error": {"Code": "403", "Message": "Forbidden"}})), settings
    )
    assert (found.state, "another name" in found.cure) == (State.FAILED, True)


# ---- Spark's S3 ------------------------------------------------------------------------------------------------------


def test_without_hadoop_aws_nothing_is_claimed(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setattr(checks, "SPARK_HOMES", [tmp_path])
    found = checks.check_spark_s3(settings)
    assert found.state is State.UNKNOWN
    assert "on the cluster" in found.seen


def test_hadoop_aws_is_found_in_jars_and_in_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setattr(checks, "SPARK_HOMES", [tmp_path])
    assert not checks.has_s3a()
    (tmp_path / "spark-defaults.conf").write_text("spark.jars /x/hadoop-aws-3.4.2.jar\n")
    assert checks.has_s3a()
    (tmp_path / "spark-defaults.conf").unlink()
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "hadoop-aws-3.4.2.jar").write_text("")
    assert checks.has_s3a()


@pytest.mark.parametrize(
    ("code", "state", "seen"),
    [
        ("pass", State.OK, "lists, writes, deletes"),
        ("import sys; sys.exit('Access Denied')", State.FAILED, "Access Denied"),
    ],
)
def test_the_probes_outcome_is_the_checks(settings, monkeypatch, tmp_path, code, state, seen):
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/arguments"\nexec "{sys.executable}" -c "{code}"\n')
    program.chmod(0o755)
    monkeypatch.setattr(checks.sys, "executable", str(program))
    monkeypatch.setattr(checks, "has_s3a", lambda: True)
    found = checks.check_spark_s3(settings)
    assert (found.state, found.seen) == (state, seen)
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[:2] == ["-m", s3a_probe.__name__]
    assert arguments[2].startswith(f"s3a://{BUCKET}/fruits/.check-")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("An error occurred while calling o48.close.\n: java.nio.file.AccessDeniedException: x\n\tat y", "java.nio"),
        ("one line", "one line"),
        ("", "no reason given"),
    ],
)
def test_of_javas_errors_the_telling_line_is_kept(text, line):
    assert s3a_probe.reason(text).startswith(line)


@pytest.mark.slow
def test_the_probe_writes_lists_and_deletes_with_a_real_spark(spark, tmp_path):
    """On the file system that Hadoop has here; the calls are the same for S3A."""
    s3a_probe.write_list_delete(spark, f"file:{tmp_path}/probe")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=r"(?i)not a directory|mkdirs failed"):
        s3a_probe.write_list_delete(spark, f"file:{tmp_path}/file/probe")


# ---- all together ----------------------------------------------------------------------------------------------------


def test_after_a_broken_condition_nothing_more_is_asked():
    asked = []

    def fine(name):
        asked.append(name)
        return checks.ok(name, "")

    groups = [
        [("a", lambda: fine("a"))],
        [("b", lambda: checks.failed("b", "x", "cure")), ("c", lambda: fine("c"))],
        [("d", lambda: fine("d"))],
    ]
    told = []
    outcomes = checks.run_checks(groups, told.append)
    assert asked == ["a"]
    assert [outcome.state for outcome in outcomes] == [State.OK, State.FAILED, State.UNKNOWN, State.UNKNOWN]
    assert told == outcomes
    assert "b" in outcomes[3].seen


def test_a_failure_that_is_no_condition_blocks_nothing():
    groups = [[("a", lambda: checks.ok("a", "")), ("b", lambda: checks.failed("b", "", ""))]] * 2
    assert [found.state for found in checks.run_checks(groups, print)] == [State.OK, State.FAILED] * 2


def test_bugs_are_no_outcome():
    with pytest.raises(ZeroDivisionError):
        checks.tried("a", lambda: 1 / 0)


def test_errors_of_ours_are_outcomes():
    def look():
        raise InputError("wrong\nmend it so\nand so")

    found = checks.tried("a", look)
    assert (found.seen, found.cure) == ("wrong", "mend it so and so")


def test_unknown_words_of_aws_are_outcomes():
    def look():
        raise ClientError({"Error": {"Code": "Odd", "Message": "odd"}}, "Op")

    assert checks.tried("a", look).state is State.FAILED


# ---- against a real S3 server ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
    try:
        import s3_server
    except ImportError:
        pytest.skip("no S3 server module")
    finally:
        sys.path.pop(0)
    try:
        running = s3_server.start_s3_server(tmp_path_factory.mktemp("s3"))
    except s3_server.S3ServerError as error:
        pytest.skip(str(error))
    yield running
    running.stop()


@pytest.fixture
def on_server(server, monkeypatch):
    """This process as one of the server's identities."""
    from fruits_pipeline import s3

    def forget():
        for cached in (s3._session, s3.client, s3._object_store):
            cached.cache_clear()

    def become(identity):
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        for name, value in server.environment(identity).items():
            monkeypatch.setenv(name, value)
        forget()
        return boto3.session.Session().client("s3")

    yield become
    forget()


@pytest.mark.slow
def test_all_stacks_of_python_on_a_real_server(settings, server, on_server):
    s3 = on_server("admin")
    server.fill(BUCKET, {"fruits/other": b"x"})
    assert checks.check_python_s3(s3, settings).state is State.OK
    assert list(list_present(s3, BUCKET, "fruits/")) == ["fruits/other"]  # the probe is gone
    assert checks.check_bucket(s3, settings.model_copy(update={"bucket": "nobody-made-it"})).state is State.FAILED


@pytest.mark.slow
def test_who_may_only_read_is_told_so(settings, server, on_server):
    server.fill(BUCKET, {"fruits/other": b"x"})
    found = checks.tried("s3", lambda: checks.check_python_s3(on_server("reader"), settings))
    assert found.state is State.FAILED
    assert "AccessDenied" in found.seen
    assert "permission" in found.cure
