"""Steps: what spark-submit is told, and what a step's end is made of."""

import gzip
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruits_pipeline.emr import steps
from fruits_pipeline.emr.artifacts import find_artifacts
from fruits_pipeline.emr.steps import Cluster, Step
from fruits_pipeline.errors import InputError

from .conftest import BUCKET, client
from .conftest import bucket as make_bucket

CLUSTER = Cluster("j-1", "fruits", "RUNNING", "", f"s3n://{BUCKET}/fruits/logs/emr/")


# ---- the request -----------------------------------------------------------------------------------------------------


def test_the_step_runs_the_packaged_project_in_cluster_mode(settings, project):
    spark = {"spark.executor.cores": 4, "spark.python.worker.reuse": True, "spark.driver.host": "127.0.0.1"}
    request = steps.step_request(
        "j-1", settings, find_artifacts(settings, project), spark, "pca.variance=0.9", "pca", "prod"
    )
    step = request["Steps"][0]
    assert request["JobFlowId"] == "j-1"
    assert step["ActionOnFailure"] == "CONTINUE"
    assert step["HadoopJarStep"] == {
        "Jar": "command-runner.jar",
        "Args": [
            *("spark-submit", "--deploy-mode", "cluster", "--name", "fruits_pipeline"),
            *("--conf", "spark.executor.cores=4", "--conf", "spark.python.worker.reuse=true"),
            f"s3://{BUCKET}/fruits/artifacts/submit.py",
            *("--env=prod", f"--conf-source=s3://{BUCKET}/fruits/artifacts/conf-fruits_pipeline.tar.gz"),
            f"--params=images=s3://{BUCKET}/fruits/01_raw,output=s3://{BUCKET}/fruits,pca.variance=0.9",
            "--pipelines=pca",
        ],
    }


def test_emr_takes_the_request(settings, project, stubbed):
    """botocore checks it against the API's own model."""
    request = steps.step_request("j-1", settings, find_artifacts(settings, project), {}, "", None)
    emr = stubbed("emr", ("add_job_flow_steps", {"StepIds": ["s-1"]}, request))
    assert emr.add_job_flow_steps(**request)["StepIds"] == ["s-1"]


def test_too_long_arguments_are_refused_here(settings, project):
    with pytest.raises(InputError, match="10,240"):
        steps.step_request("j-1", settings, find_artifacts(settings, project), {}, "x=" + "y" * 10_000, None)


def test_settings_that_bind_a_driver_to_its_own_machine_stay_here():
    assert steps.spark_settings(dict.fromkeys(steps.LOCAL_ONLY, "x") | {"spark.a": None, "spark.b": 1.5}) == {
        "spark.b": "1.5"
    }


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("", "images=s3://fruits-test/fruits/01_raw,output=s3://fruits-test/fruits"),
        ("images=s3://o/x", "output=s3://fruits-test/fruits,images=s3://o/x"),
        ("output:s3://o,images=s3://o/x", "output:s3://o,images=s3://o/x"),
        (" , ", "images=s3://fruits-test/fruits/01_raw,output=s3://fruits-test/fruits"),
    ],
)
def test_images_and_results_are_in_the_bucket_unless_params_say_otherwise(settings, params, expected):
    assert steps.with_roots(params, settings) == expected


@given(st.lists(st.sampled_from(["images=a", "output=b", "pca.variance=0.9", "encoder.alpha=1.0"]), unique=True))
def test_roots_are_given_once(settings, given_params):
    once = steps.with_roots(",".join(given_params), settings)
    assert steps.with_roots(once, settings) == once
    names = [part.partition("=")[0] for part in once.split(",")]
    assert sorted(names) == sorted({*names, "images", "output"})
    assert set(given_params) <= set(once.split(","))


# ---- watching --------------------------------------------------------------------------------------------------------


def described(state, **status):
    found = {"Id": "s-1", "Name": "run", "Status": {"State": state, **status}}
    return ("describe_step", {"Step": found}, {"ClusterId": "j-1", "StepId": "s-1"})


def test_watching_ends_with_the_step(stubbed, capsys):
    emr = stubbed("emr", described("PENDING"), described("RUNNING"), described("RUNNING"), described("COMPLETED"))
    assert steps.watch_step(emr, "j-1", "s-1").state == "COMPLETED"
    told = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert told == ["PENDING", "RUNNING", "COMPLETED"]  # each state once


def test_news_are_told_when_the_state_changes(stubbed):
    told = []
    emr = stubbed("emr", described("PENDING"), described("RUNNING"), described("FAILED"))
    steps.watch_step(emr, "j-1", "s-1", lambda: told.append(1))
    assert len(told) == 2


def test_the_reason_of_a_failure_is_all_that_emr_says(stubbed):
    details = {"Reason": "Unknown Error.", "Message": "exitCode 1", "LogFile": "s3://x"}
    change = {"Message": "step failed"}
    emr = stubbed("emr", described("FAILED", FailureDetails=details, StateChangeReason=change))
    assert steps.describe_step(emr, "j-1", "s-1").reason == "Unknown Error. exitCode 1 step failed"


@pytest.mark.parametrize(
    ("state", "reason", "log", "code"),
    [
        ("COMPLETED", "", ["exitCode 3"], 0),
        ("FAILED", "", [], 1),
        ("FAILED", "", ["INFO Step failed with exitCode 2 and took 20 seconds"], 2),
        ("FAILED", "command exited with exit code: 13", [], 13),
        ("FAILED", "", ["exitCode 0", "exitCode 999"], 1),
        ("CANCELLED", "cancelled by user", [], 1),
        ("INTERRUPTED", "", [], 1),
    ],
)
def test_the_exit_code_is_the_steps(state, reason, log, code):
    assert steps.exit_code(Step("s-1", "run", state, reason), log) == code


def test_the_latest_step_is_found(stubbed):
    def listed(step, day):
        timeline = {"CreationDateTime": datetime(2026, 11, day, tzinfo=UTC)}
        return {"Id": step, "Name": "run", "Status": {"State": "RUNNING", "Timeline": timeline}}

    emr = stubbed("emr", ("list_steps", {"Steps": [listed("s-old", 1), listed("s-new", 2)]}))
    assert steps.latest_step(emr, "j-1").id == "s-new"
    with pytest.raises(InputError, match="kedro emr submit"):
        steps.latest_step(stubbed("emr", ("list_steps", {"Steps": []})), "j-1")


def test_an_unknown_cluster_is_named(stubbed):
    error = {"Error": {"Code": "InvalidRequestException", "Message": "Cluster id 'j-9' is not valid."}}
    with pytest.raises(InputError, match=r"no cluster j-9.*kedro emr deploy"):
        steps.describe_cluster(stubbed("emr", ("describe_cluster", error)), "j-9")


@pytest.mark.parametrize(
    ("state", "alive"),
    [("WAITING", True), ("RUNNING", True), ("TERMINATING", False), ("TERMINATED_WITH_ERRORS", False)],
)
def test_what_is_alive(state, alive):
    assert Cluster("j-1", "", state, "", "").is_alive is alive


# ---- logs ------------------------------------------------------------------------------------------------------------

STEP = "fruits/logs/emr/j-1/steps/s-1/"
DRIVER = "fruits/logs/emr/j-1/containers/application_17_0002/container_17_0002_01_000001/stderr.gz"


@pytest.mark.usefixtures("cloud")
class TestLogs:
    def put(self, key, text):
        client("s3").put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(text.encode()))

    def test_a_steps_log_is_read(self):
        make_bucket()
        self.put(f"{STEP}stderr.gz", "one\né\n")
        assert steps.step_log(client("s3"), CLUSTER, "s-1", "stderr") == ["one", "é"]

    def test_before_emr_has_copied_it_there_is_none(self):
        make_bucket()
        assert steps.step_log(client("s3"), CLUSTER, "s-1", "stderr") == []

    def test_without_a_place_for_logs_there_is_none(self):
        assert steps.step_log(client("s3"), Cluster("j-1", "", "RUNNING", "", ""), "s-1", "stderr") == []

    def test_the_drivers_log_is_that_of_the_first_container_of_the_last_application(self):
        make_bucket()
        self.put(DRIVER.replace("0002", "0001"), "an earlier attempt")
        self.put(DRIVER.replace("000001/", "000002/"), "an executor")
        self.put(DRIVER, "the driver")
        submitted = ["Submitted application application_17_0001", "Submitted application application_17_0002"]
        assert steps.driver_log(client("s3"), CLUSTER, submitted) == ["the driver"]
        assert steps.driver_log(client("s3"), CLUSTER, ["nothing yet"]) == []

    def test_of_a_log_cut_short_the_first_part_is_read(self):
        make_bucket()
        whole = gzip.compress("\n".join(f"line {i * i}" for i in range(3000)).encode())
        client("s3").put_object(Bucket=BUCKET, Key=f"{STEP}stderr.gz", Body=whole[: len(whole) // 2])
        lines = steps.step_log(client("s3"), CLUSTER, "s-1", "stderr")
        assert lines[:2] == ["line 0", "line 1"]
        assert 100 < len(lines) < 3000

    @pytest.mark.parametrize(("body", "lines"), [(b"plain\ntext", ["plain", "text"]), (b"\x1f\x8bnonsense" * 9, [])])
    def test_what_is_no_gzip(self, body, lines):
        make_bucket()
        client("s3").put_object(Bucket=BUCKET, Key=f"{STEP}stdout.gz", Body=body)
        assert steps.step_log(client("s3"), CLUSTER, "s-1", "stdout") == lines
