"""`kedro emr …` as a person types it: a cluster's whole life in moto, dry runs, refusals, and Ctrl-C."""

import gzip
import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import botocore.client
import click
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from fruits_pipeline.emr import artifacts, checks, leftovers, stack, steps, tunnels
from fruits_pipeline.emr import plan as plans
from fruits_pipeline.emr import upload as uploads
from fruits_pipeline.emr.commands import check, deploy, plan, terminate

from .conftest import BUCKET, CLUSTER, PROJECT, client
from .conftest import bucket as make_bucket

SAMPLE = PROJECT / "data" / "01_raw" / "sample"


def outputs(name="fruits-cluster"):
    found = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {item["OutputKey"]: item["OutputValue"] for item in found["Outputs"]}


def keys(prefix=""):
    return [item["Key"] for item in client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def stacks():
    found = client("cloudformation").list_stacks()["StackSummaries"]
    return sorted(item["StackName"] for item in found if item["StackStatus"] != "DELETE_COMPLETE")


@pytest.fixture
def images(tmp_path):
    for name in ("Apple Red/1.jpg", "Poire d'été/a b.png", "Poire d'été/notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "images"


# ---- plan ------------------------------------------------------------------------------------------------------------


def test_plan_measures_the_bundled_encoder_on_the_sample(run, monkeypatch):
    monkeypatch.chdir(PROJECT)
    if not list(Path("data/06_models/encoders").glob("*.onnx")):
        pytest.skip("no exported encoder here; make run exports one")
    result = run("plan", str(SAMPLE), bucket=None)
    assert result.exit_code == 0, result.output
    assert "Measured on " in result.output
    assert "MobileNetV2 alpha 0.35" in result.output
    assert "211 (" in result.output


def test_plan_with_a_given_speed_needs_no_encoder_and_no_bucket(run, project, images):
    result = run("plan", str(images), "--images-per-second=100", bucket=None)
    assert result.exit_code == 0, result.output
    assert "2 (" in result.output
    assert "1 other files" in result.output
    assert "together 540 images/s" in result.output
    assert result.output.endswith("To do it: kedro emr deploy --task-nodes=2\n")


def test_plan_chooses_the_nodes_for_a_time(run, project, monkeypatch):
    million = plans.Workload(1_000_000, 10**10)
    monkeypatch.setattr(plan, "_count", lambda images, extensions: (million, []))
    result = run("plan", str(SAMPLE), "--images-per-second=100", "--within=40", bucket=None)
    assert result.exit_code == 0, result.output
    assert "1 core + 3 task nodes" in result.output  # 1e6 / (25 · 60) = 667 images/s, 180 a node: 4 nodes
    assert "--task-nodes=3" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-cost=0.01"], "Too expensive"),
        (["--nodes=3", "--within=60"], "not both"),
        (["--nodes=1"], "smallest cluster"),
        (["--within=5"], "cannot be done within 5 minutes"),
        (["--region=eu-south-1"], "no price of"),
        (["--region=us-east-1"], "European Union"),
    ],
)
def test_plan_refuses_with_one_message(run, project, images, options, words):
    result = run("plan", str(images), "--images-per-second=100", *options, bucket=None)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_plan_within_a_limit_is_no_failure(run, project, images):
    assert run("plan", str(images), "--images-per-second=100", "--max-cost=100").exit_code == 0


def test_plan_of_a_missing_or_empty_folder(run, project, tmp_path):
    assert "does not exist" in run("plan", str(tmp_path / "none")).output
    (tmp_path / "empty").mkdir()
    assert "no images" in run("plan", str(tmp_path / "empty")).output


def test_plan_of_a_bucket_lists_it(run, project, monkeypatch):
    asked = []

    def listed(root):
        asked.append(root)
        return iter([])

    monkeypatch.setattr(plan, "list_files", listed)
    result = run("plan", f"s3://{BUCKET}/fruits/01_raw", "--images-per-second=100")
    assert (result.exit_code, asked) == (0, [f"s3://{BUCKET}/fruits/01_raw"])


# ---- a cluster's life ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cloud")
def test_from_nothing_to_a_cluster_and_back(run, project, images):
    deployed = run("deploy", "--yes", "--task-nodes=4")
    assert deployed.exit_code == 0, deployed.output
    assert stacks() == ["fruits-cluster", "fruits-storage"]
    assert "EUR (on-demand) an hour with 5 nodes" in deployed.output
    assert "kedro emr terminate --bucket=fruits-test" in deployed.output
    assert "fruits/artifacts/bootstrap-emr.sh" in keys()
    cluster = outputs()["ClusterId"]
    assert client("emr").describe_cluster(ClusterId=cluster)["Cluster"]["Name"] == "fruits"

    sent = run("upload", str(images))
    assert "images: 3 files uploaded" in sent.output
    assert "artifacts: 0 files uploaded (0 B), 7 were there already" in sent.output
    assert "fruits/01_raw/Poire d'été/a b.png" in keys("fruits/01_raw")
    assert "images: 0 files uploaded (0 B), 3 were there already" in run("upload", str(images)).output

    (project / "bootstrap" / "submit.py").write_text("print('changed')\n")
    submitted = run("submit", "--params=pca.variance=0.9")
    assert submitted.exit_code == 0, submitted.output
    assert "artifacts: 1 files uploaded" in submitted.output  # a step runs what is here, not what was here
    step = client("emr").list_steps(ClusterId=cluster)["Steps"][0]
    assert f"Step {step['Id']} on cluster {cluster}" in submitted.output
    assert step["Config"]["Args"][:3] == ["spark-submit", "--deploy-mode", "cluster"]
    assert any("pca.variance=0.9" in part for part in step["Config"]["Args"])

    cloned = run("clone", "second", "--yes")
    assert cloned.exit_code == 0, cloned.output
    assert "kedro emr terminate --bucket=fruits-test --name=second" in cloned.output.replace("'", "")
    first, second = (
        client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["Parameters"]
        for name in ("fruits-cluster", "second-cluster")
    )
    values = [{item["ParameterKey"]: item["ParameterValue"] for item in found} for found in (first, second)]
    assert values[1] == {**values[0], "ClusterName": "second"}

    ended = run("terminate", "--yes")
    assert ended.exit_code == 0, ended.output
    assert stacks() == ["fruits-storage", "second-cluster"]
    assert "of another name, left alone" in ended.output
    assert run("terminate", "--yes", "--name=second").exit_code == 0
    last = run("terminate", "--yes")
    assert "✓ no cluster and no serverless application" in last.output
    assert "bucket fruits-test: 10 objects" in last.output

    gone = run("terminate", "--yes", "--delete-data", typed="fruits-test\n")
    assert gone.exit_code == 0, gone.output
    assert stacks() == []
    assert leftovers.stored(client("s3"), BUCKET) is None


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("uploaded", [False, True])
def test_code_that_is_newer_than_the_nodes_is_not_thought_to_run(run, project, uploaded):
    run("deploy", "--yes")
    wheel = next((project / "dist").glob("*.whl"))
    wheel.write_bytes(b"changed")
    if uploaded:
        time.sleep(1.1)  # S3 tells times in seconds
        run("upload")
    refused = run("submit")
    assert refused.exit_code == 1
    assert f"before {wheel.name} changed" in refused.output
    cluster = outputs()["ClusterId"]
    assert client("emr").list_steps(ClusterId=cluster)["Steps"] == []
    before = client("s3").get_object(Bucket=BUCKET, Key=f"fruits/artifacts/{wheel.name}")["Body"].read()
    accepted = run("submit", "--old-code")
    assert accepted.exit_code == 0, accepted.output
    assert len(client("emr").list_steps(ClusterId=cluster)["Steps"]) == 1
    after = client("s3").get_object(Bucket=BUCKET, Key=f"fruits/artifacts/{wheel.name}")["Body"].read()
    assert after == before  # a node that joins gets the code of its neighbours


def test_misspelt_template_parameters_are_refused(run, project):
    settings = project / "conf" / "cloud" / "emr.yml"
    settings.write_text(
        settings.read_text().replace("template_parameters: {}", 'template_parameters: {TaskNodez: "1"}')
    )
    result = run("deploy", "--yes", "--dry-run")
    assert result.exit_code == 1
    assert "no template has a parameter TaskNodez. Did you mean TaskNodes?" in result.output


@pytest.mark.usefixtures("cloud")
def test_deploying_again_changes_nothing(run, project):
    run("deploy", "--yes")
    before = outputs()
    again = run("deploy", "--yes")
    assert again.exit_code == 0, again.output
    assert "stands already" in again.output
    assert outputs() == before


@pytest.mark.usefixtures("cloud")
def test_a_cluster_that_has_ended_itself_is_replaced_under_another_name(run, project, monkeypatch):
    run("deploy", "--yes")
    client("emr").terminate_job_flows(JobFlowIds=[outputs()["ClusterId"]])
    requests = []
    monkeypatch.setattr(
        stack, "put_stack", lambda cfn, request: requests.append(request) or stack.find_stack(cfn, request["StackName"])
    )
    assert "has ended" in run("deploy", "--yes").output
    names = [p["ParameterValue"] for p in requests[-1]["Parameters"] if p["ParameterKey"] == "ClusterName"]
    assert names[0].startswith("fruits-20")


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("command", [["deploy"], ["clone", "other"], ["terminate"]])
def test_who_says_no_starts_and_ends_nothing(run, project, command):
    if command != ["deploy"]:
        run("deploy", "--yes")
    before = stacks()
    result = run(*command, typed="n\n")
    assert result.exit_code == 1
    assert "Nothing was started" in result.output
    assert stacks() == before


@pytest.mark.usefixtures("cloud")
def test_data_are_deleted_only_by_their_name(run, project):
    run("deploy", "--yes")
    result = run("terminate", "--yes", "--delete-data", typed="fruits\n")
    assert result.exit_code == 1
    assert "Nothing was deleted" in result.output
    assert len(keys()) == 7


@pytest.mark.usefixtures("cloud")
def test_a_living_cluster_of_ours_that_no_stack_knows_is_shown_and_fails(run, project):
    make_bucket()
    client("emr").run_job_flow(
        Name="fruits-by-hand",
        ReleaseLabel="emr-7.0.0",
        Instances={"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": True},
        JobFlowRole="a",
        ServiceRole="b",
    )
    result = run("terminate", "--yes")
    assert result.exit_code == 1
    assert "✗ cluster j-" in result.output


def test_a_serverless_application_is_stopped_before_its_stack_is_deleted(stubbed, monkeypatch):
    def application(state):
        found = {
            "applicationId": "a1",
            "arn": "arn:aws:emr-serverless:eu-west-3:123456789012:/applications/a1",
            "releaseLabel": "emr-spark-8.1.0",
            "type": "SPARK",
        }
        times = {"createdAt": datetime.now(UTC), "updatedAt": datetime.now(UTC)}
        return ("get_application", {"application": {**found, **times, "state": state}}, {"applicationId": "a1"})

    stop = ("stop_application", {}, {"applicationId": "a1"})
    serverless = stubbed("emr-serverless", stop, application("STOPPING"), application("STOPPED"))
    setup = SimpleNamespace(client=lambda service: serverless)
    terminate._stop_application(setup, "a1")


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "ValidationException"])
def test_an_application_that_is_gone_or_stopped_needs_no_stopping(stubbed, code):
    gone = ("stop_application", {"Error": {"Code": code, "Message": "x"}})
    terminate._stop_application(SimpleNamespace(client=lambda service: stubbed("emr-serverless", gone)), "a1")


@pytest.mark.usefixtures("cloud")
def test_the_storage_can_be_made_alone_and_first(run, project, images):
    """Uploading a million images takes hours in which a cluster would stand and wait."""
    for made_by_packaging in (project / "dist").iterdir():
        made_by_packaging.unlink()
    result = run("deploy", "--storage-only", "--yes")
    assert result.exit_code == 0, result.output
    assert stacks() == ["fruits-storage"]
    assert "Next: kedro emr upload IMAGES --bucket=fruits-test" in result.output
    assert run("upload", str(images), "--no-artifacts").exit_code == 0
    assert "make package" in run("deploy", "--yes").output


BUDGET = """
Parameters:
  BudgetAmount: {Type: Number}
  BudgetEmail: {Type: String}
Resources:
  Topic: {Type: AWS::SNS::Topic, Properties: {DisplayName: !Ref BudgetEmail}}
"""


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(("region", "home"), [("eu-west-3", "eu-west-3"), ("eu-north-1", "eu-central-1")])
def test_the_budget_is_made_where_cloudformation_knows_budgets(run, project, region, home):
    (project / "bootstrap" / "budget.yaml").write_text(BUDGET)
    result = run("deploy", "--yes", "--budget-email=ada@example.org", f"--region={region}")
    assert result.exit_code == 0, result.output
    found = client("cloudformation", home).describe_stacks(StackName="fruits-budget")["Stacks"][0]["Parameters"]
    assert {item["ParameterKey"]: item["ParameterValue"] for item in found} == {
        "BudgetAmount": "50",
        "BudgetEmail": "ada@example.org",
    }


@pytest.mark.usefixtures("cloud")
def test_without_an_address_there_is_no_budget_and_that_is_said(run, project):
    assert "No budget alarm: give --budget-email" in run("deploy", "--yes").output
    assert "fruits-budget" not in stacks()


@pytest.mark.parametrize("command", [["submit"], ["watch"], ["ui"], ["clone", "x", "--yes"]])
@pytest.mark.usefixtures("cloud")
def test_without_a_cluster_the_command_that_makes_one_is_named(run, project, command):
    result = run(*command)
    assert result.exit_code == 1
    assert "kedro emr deploy --bucket=fruits-test" in result.output


@pytest.mark.usefixtures("cloud")
def test_an_ended_cluster_takes_no_steps(run, project):
    run("deploy", "--yes")
    client("emr").terminate_job_flows(JobFlowIds=[outputs()["ClusterId"]])
    result = run("submit")
    assert result.exit_code == 1
    assert "has ended" in result.output


@pytest.mark.usefixtures("cloud")
def test_a_clone_needs_a_name_of_its_own(run, project):
    run("deploy", "--yes")
    assert "Give another one" in run("clone", "fruits", "--yes").output
    run("clone", "b", "--yes")
    assert "already" in run("clone", "b", "--yes").output


@pytest.mark.usefixtures("cloud")
def test_ui_names_the_commands_of_the_primary(run, project, monkeypatch):
    run("deploy", "--yes")
    primary = tunnels.Primary("i-1", "ip-1")
    monkeypatch.setattr(tunnels, "find_primary", lambda emr, cluster: primary)
    result = run("ui", "yarn")
    assert result.exit_code == 0, result.output
    assert "http://localhost:8088" in result.output
    assert "18080" not in result.output
    started = []
    monkeypatch.setattr(tunnels, "open_pages", lambda pages, *more: started.extend(page.port for page in pages))
    run("ui", "--open")
    assert started == [18080, 8088, 8888]


# ---- watch -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(project, cloud, run, monkeypatch):
    """A deployed cluster with a step whose states are given, and its logs."""
    run("deploy", "--yes", "--task-nodes=6")
    run("submit")
    cluster = outputs()["ClusterId"]
    step = client("emr").list_steps(ClusterId=cluster)["Steps"][0]["Id"]

    def become(*states, stderr="", controller=""):
        found = iter(states)
        monkeypatch.setattr(steps, "describe_step", lambda emr, c, s: steps.Step(s, "run", next(found), ""))
        folder = f"fruits/logs/emr/{cluster}/steps/{step}"
        for name, text in {"stderr": stderr, "controller": controller}.items():
            client("s3").put_object(Bucket=BUCKET, Key=f"{folder}/{name}.gz", Body=gzip.compress(text.encode()))

    return become


def test_watch_follows_the_latest_step_and_shows_the_end_of_its_log(finished, run):
    finished("PENDING", "RUNNING", "COMPLETED", stderr="\n".join(f"line {i}" for i in range(100)))
    result = run("watch", "--lines=2")
    assert result.exit_code == 0, result.output
    assert "    line 98\n    line 99\n" in result.output
    assert "    line 97\n" not in result.output
    assert "EUR (on-demand) an hour" in result.output


def test_watch_ends_with_the_steps_code(finished, run):
    finished("RUNNING", "FAILED", controller="INFO Step failed with exitCode 3")
    assert run("watch").exit_code == 3


def test_submit_can_watch(finished, run):
    finished("RUNNING", "FAILED", controller="nothing that says more")
    assert run("submit", "--watch").exit_code == 1


def test_logs_that_may_not_be_read_hide_no_outcome(finished, run, monkeypatch):
    finished("COMPLETED")

    def refuse(*arguments):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "s3:GetObject"}}, "GetObject")

    monkeypatch.setattr(steps, "_read_log", refuse)
    result = run("watch")
    assert result.exit_code == 0
    assert "the logs cannot be read" in result.output


# ---- check -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cloud")
def test_check_says_what_is_missing_and_fails(run, project):
    result = run("check")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert "✓ region: eu-west-3 (Paris), in the European Union" in lines
    assert "✗ bucket: there is no s3://fruits-test" in lines
    assert "    → kedro emr deploy makes it; or correct FRUITS_BUCKET" in lines
    assert sum(line.startswith("– ") for line in lines) >= 6  # what lies behind the bucket is not claimed
    assert lines[-1].endswith("to mend")


@pytest.mark.usefixtures("cloud")
def test_check_without_a_bucket_says_how_to_name_one(run, project):
    assert "FRUITS_BUCKET" in run("check", bucket=None).output


@pytest.mark.usefixtures("cloud")
def test_check_passes_when_nothing_is_wrong(run, project, monkeypatch):
    fine = [[("a", lambda: checks.ok("a", "fine")), ("b", lambda: checks.unknown("b", "?"))]]
    monkeypatch.setattr(check, "_check_groups", lambda setup, params: fine)
    result = run("check")
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "✓ a: fine")


# ---- dry runs --------------------------------------------------------------------------------------------------------

DRY = {
    "plan": (["plan", f"s3://{BUCKET}/x"], ["s3.list_objects_v2"]),
    "check": (["check"], ["sts.get_caller_identity", "s3.head_bucket"]),
    "deploy": (
        ["deploy", "--yes"],
        ["cloudformation.create_stack", "s3.upload_file", "StackName: fruits-storage", "StackName: fruits-cluster"],
    ),
    "upload": (["upload", str(SAMPLE)], ["s3.upload_file", "Key: fruits/01_raw/", "and so on: 211 images"]),
    "submit": (["submit"], ["emr.add_job_flow_steps", "spark-submit", "images=s3://fruits-test/fruits/01_raw"]),
    "watch": (["watch"], ["emr.describe_step"]),
    "ui": (["ui"], ["aws ssm start-session"]),
    "clone": (["clone", "b", "--yes"], ["cloudformation.create_stack", "StackName: b-cluster"]),
    "terminate": (
        ["terminate", "--yes", "--delete-data"],
        ["cloudformation.delete_stack", "StackName: fruits-serverless", "s3.delete_bucket", "emr.list_clusters"],
    ),
}


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_says_what_it_would_call_and_calls_nothing(run, project, monkeypatch, name):
    def called(self, operation, arguments):
        raise AssertionError(f"{operation} was called")

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", called)
    arguments, words = DRY[name]
    result = run(*arguments, "--dry-run")
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.output


def test_every_command_has_a_dry_run(run):
    from fruits_pipeline.emr.cli import emr

    assert set(emr.commands) == set(DRY)
    assert all("dry_run" in {option.name for option in command.params} for command in emr.commands.values())


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(DRY) - {"plan"}))
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "Op"), "expired"),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "Op"), "not you"),
        (ClientError({"Error": {"Code": "Throttling", "Message": "slow"}}, "Op"), "busy"),
    ],
    ids=["nobody", "expired", "refused", "throttled"],
)
def test_every_command_tells_aws_errors_in_one_message(run, project, monkeypatch, name, error, words):
    def fail(self, operation, arguments):
        raise error

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", fail)
    result = run(*DRY[name][0], typed=f"{BUCKET}\n")
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
    assert result.output.count("Error:") <= 1


@pytest.mark.usefixtures("cloud")
def test_a_failed_deploy_says_what_exists_and_how_to_end_it(run, project):
    broken = CLUSTER.replace("AWS::EMR::Cluster", "AWS::EMR::Nothing").replace("!Ref Cluster}", "x}")
    (project / "bootstrap" / "cluster.yaml").write_text(broken.replace("Outputs:", "Outputs:\n  A: {Value: !Ref Nope}"))
    result = run("deploy", "--yes")
    assert result.exit_code == 1, result.output
    assert "What exists now:" in result.output
    assert "stack fruits-storage: CREATE_COMPLETE" in result.output
    assert "costs nothing but what is stored" in result.output


def test_unforeseen_errors_keep_their_traceback(run, project, monkeypatch):
    def fail(setup, yes, storage_only):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(deploy, "deploy", fail)
    assert isinstance(run("deploy", "--yes").exception, ZeroDivisionError)


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


@pytest.mark.usefixtures("cloud")
def test_ctrl_c_while_a_cluster_is_being_made_says_what_runs_what_it_costs_and_how_to_end_it(run, project, monkeypatch):
    real = stack.wait_for_stack

    def wait(cloudformation, found, known=frozenset()):
        return interrupt() if found.name == "fruits-cluster" else real(cloudformation, found, known)

    monkeypatch.setattr(stack, "wait_for_stack", wait)
    result = run("deploy", "--yes", "--region=eu-west-3")
    assert result.exit_code == 130
    lines = result.output.splitlines()
    assert "Error: Interrupted." in lines
    at = lines.index("  stack fruits-cluster: CREATE_COMPLETE")
    assert "EUR (on-demand) an hour with 3 nodes" in lines[at + 1]
    assert lines[at + 2] == "    end it: kedro emr terminate --region=eu-west-3 --bucket=fruits-test"
    assert "fruits-cluster" in stacks()

    monkeypatch.setattr(stack, "wait_for_stack", real)
    command = lines[at + 2].partition("kedro emr ")[2].split()
    assert run(*command, "--yes", bucket=None).exit_code == 0
    assert stacks() == ["fruits-storage"]


@pytest.mark.usefixtures("cloud")
def test_ctrl_c_during_the_request_itself_is_no_excuse(run, project, monkeypatch):
    """The request may have arrived although its answer never will."""
    real = botocore.client.BaseClient._make_api_call

    def call(self, operation, arguments):
        answer = real(self, operation, arguments)
        if operation == "CreateStack" and arguments["StackName"] == "fruits-cluster":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    result = run("deploy", "--yes")
    assert result.exit_code == 130
    assert "stack fruits-cluster: CREATE_COMPLETE" in result.output


@pytest.mark.usefixtures("cloud")
def test_ctrl_c_and_no_more_network_assumes_the_worst(run, project, monkeypatch):
    def wait(cloudformation, found, known=frozenset()):
        monkeypatch.setattr(stack, "find_stack", interrupt)  # pressed again
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "wait_for_stack", wait)
    result = run("deploy", "--yes")
    assert result.exit_code == 130
    assert "assume that it runs" in result.output
    assert "kedro emr terminate" in result.output


@pytest.mark.usefixtures("cloud")
def test_ctrl_c_while_cloning_names_the_clone(run, project, monkeypatch):
    run("deploy", "--yes")
    monkeypatch.setattr(stack, "wait_for_stack", interrupt)
    result = run("clone", "second", "--yes")
    assert result.exit_code == 130
    assert "stack second-cluster: CREATE_COMPLETE" in result.output
    assert "--name=second" in result.output


@pytest.mark.usefixtures("cloud")
def test_ctrl_c_while_ending_says_that_it_has_not_ended(run, project, monkeypatch):
    run("deploy", "--yes")
    monkeypatch.setattr(stack, "delete_stack", interrupt)
    result = run("terminate", "--yes")
    assert result.exit_code == 130
    assert "stack fruits-cluster: CREATE_COMPLETE" in result.output
    assert "end it: kedro emr terminate" in result.output


def test_ctrl_c_while_watching_says_that_step_and_cluster_go_on(finished, run, monkeypatch):
    finished("RUNNING", "RUNNING", "RUNNING")
    monkeypatch.setattr(steps, "pause", interrupt)
    result = run("watch")
    assert result.exit_code == 130
    assert "goes on; watch it again: kedro emr watch s-" in result.output
    assert "aws emr cancel-steps --region eu-west-3 --cluster-id j-" in result.output
    assert "an hour with 7 nodes" in result.output  # those it was deployed with, not those of the settings
    assert "end it: kedro emr terminate" in result.output


@pytest.mark.usefixtures("cloud")
def test_ctrl_c_while_uploading_says_how_far_it_came(run, project, images, monkeypatch):
    make_bucket()
    real, count = uploads._upload_one, []
    first = threading.Event()

    def one(s3, bucket, item, present):
        count.append(item)
        if len(count) > 1:
            first.wait(5)
            raise KeyboardInterrupt
        sent = real(s3, bucket, item, present)
        first.set()
        return sent

    monkeypatch.setattr(uploads, "_upload_one", one)
    result = run("upload", str(images), "--no-artifacts")
    assert result.exit_code == 130
    assert "1 of 3 files are there; the same command again sends the rest" in result.output
    monkeypatch.setattr(uploads, "_upload_one", real)
    assert "2 files uploaded" in run("upload", str(images), "--no-artifacts").output


@pytest.mark.parametrize("command", [["deploy"], ["terminate", "--delete-data"]])
@pytest.mark.usefixtures("cloud")
def test_ctrl_c_at_a_question_starts_nothing(run, project, monkeypatch, command):
    make_bucket()
    monkeypatch.setattr(click, "confirm", interrupt)
    monkeypatch.setattr(click, "prompt", interrupt)
    result = run(*command)
    assert result.exit_code == 130
    assert "Nothing of this command is left" in result.output
    assert stacks() == []


def test_ctrl_c_before_anything(run, project, monkeypatch):
    monkeypatch.setattr(plan, "plan_run", interrupt)
    result = run("plan", str(SAMPLE))
    assert result.exit_code == 130
    assert "Interrupted." in result.output


# ---- upload ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cloud")
def test_uploads_that_fail_here_are_named_and_the_command_fails(run, project, images):
    make_bucket()
    (images / "Apple Red" / "link.jpg").symlink_to("nowhere")
    result = run("upload", str(images), "--no-artifacts")
    assert result.exit_code == 1
    assert "link.jpg: No such file or directory" in result.output
    assert len(keys("fruits/01_raw")) == 3


def test_nothing_to_upload_is_said(run, project):
    assert "nothing to upload" in run("upload", "--no-artifacts").output


# ---- the project's own templates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["storage", "budget", "cluster"])
def test_the_templates_take_what_is_given_to_them(run, monkeypatch, settings, part):
    """No value is lost because a parameter is called otherwise, and none is missing."""
    path = PROJECT / "bootstrap" / f"{part}.yaml"
    template = stack.read_template(path)
    declared = stack.template_parameters(template)
    given = {
        "storage": {"BucketName", "Prefix"},
        "budget": {"BudgetAmount", "BudgetEmail"},
        "cluster": {*deploy._cluster_values(settings, fake_artifacts(), "x"), "ReleaseLabel", "BucketName", "Prefix"},
    }[part]
    assert given <= set(declared)
    from_storage = {"DataAccessPolicyArn"} if part == "cluster" else set()
    assert {name for name, rule in declared.items() if "Default" not in rule} <= given | from_storage


def test_the_committed_settings_are_what_the_template_allows(settings):
    declared = stack.template_parameters(stack.read_template(PROJECT / "bootstrap" / "cluster.yaml"))
    values = {
        **deploy._cluster_values(settings, fake_artifacts(), "fruits"),
        "ReleaseLabel": settings.cluster.release,
    }
    for name, value in values.items():
        rule = declared[name]
        assert value in rule.get("AllowedValues", [value]), name
        assert rule.get("MinValue", 0) <= (float(value) if rule["Type"] == "Number" else 0) or rule["Type"] != "Number"
    assert {name: str(declared[name]["Default"]) for name in values if "Default" in declared[name]} == {
        name: value for name, value in values.items() if "Default" in declared[name]
    }


def test_the_outputs_that_are_read_are_written():
    import yaml

    for part, wanted in {
        "storage": {"BucketName", "Prefix", "DataAccessPolicyArn", "BucketKeyArn"},
        "cluster": {"ClusterId"},
        "serverless": {"ApplicationId"},
    }.items():
        text = (PROJECT / "bootstrap" / f"{part}.yaml").read_text(encoding="utf-8")
        assert wanted <= set(yaml.load(text, Loader=stack._AnyTag)["Outputs"]), part


def fake_artifacts():
    path = Path("fruits_pipeline-0.1.0-py3-none-any.whl")
    return artifacts.Artifacts(path, path, path, path, path, None, None, (), ())


def test_a_stacks_own_size_is_what_is_counted(settings):
    found = stack.Stack(
        "a", "b", "CREATE_COMPLETE", parameters={"NodeSize": "4xlarge", "TaskNodes": "7", "TaskMarket": "ON_DEMAND"}
    )
    cluster = deploy.actual(settings, found).cluster
    assert (cluster.node_type, cluster.nodes, cluster.spot) == ("c7i.4xlarge", 8, False)


# ---- what is imported when -------------------------------------------------------------------------------------------


def test_help_imports_neither_boto3_nor_pyspark():
    heavy = {"boto3", "botocore", "kedro", "numpy", "pydantic", "pyspark", "rich"}
    code = f"import json, sys, fruits_pipeline.emr.cli; print(json.dumps(sorted({heavy} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
