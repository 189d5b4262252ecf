"""Stacks: what is asked of CloudFormation, and what is made of its answers (recorded shapes, checked by botocore)."""

from datetime import UTC, datetime

import pytest

from fruits_pipeline.emr import stack
from fruits_pipeline.emr.stack import Stack
from fruits_pipeline.errors import InputError

ID = "arn:aws:cloudformation:eu-west-3:123456789012:stack/fruits-cluster/1"
NONE = ("describe_stacks", {"Error": {"Code": "ValidationError", "Message": "Stack with id x does not exist"}})
REQUEST = stack.stack_request("fruits-cluster", "T", {"B": "2", "A": "1"})
CREATED = ("create_stack", {"StackId": ID}, {**REQUEST, "OnFailure": "DELETE"})
UPDATED = ("update_stack", {"StackId": ID}, REQUEST)


def described(status, reason="", outputs=None):
    found = {"StackName": "fruits-cluster", "StackId": ID, "StackStatus": status, "CreationTime": datetime.now(UTC)}
    if reason:
        found["StackStatusReason"] = reason
    found["Outputs"] = [{"OutputKey": key, "OutputValue": value} for key, value in (outputs or {}).items()]
    found["Parameters"] = [{"ParameterKey": "NodeSize", "ParameterValue": "xlarge"}]
    return ("describe_stacks", {"Stacks": [found]})


def events(*found):
    """Newest first, as CloudFormation lists them; each: number, resource, status, reason."""
    listed = [
        {
            "StackId": ID,
            "EventId": str(number),
            "StackName": "fruits-cluster",
            "LogicalResourceId": name,
            "ResourceType": "AWS::EMR::Cluster",
            "Timestamp": datetime(2026, 11, 22, 12, 0, number, tzinfo=UTC),
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
        }
        for number, name, status, reason in reversed(found)
    ]
    return ("describe_stack_events", {"StackEvents": listed}, {"StackName": ID})


BEGUN = (1, "Cluster", "CREATE_IN_PROGRESS", "")
DONE = (2, "Cluster", "CREATE_COMPLETE", "")
FAILED = (3, "Cluster", "CREATE_FAILED", "not enough Spot capacity")
CANCELLED = (4, "Group", "CREATE_FAILED", "Resource creation cancelled")


def test_a_new_stack_is_created_and_waited_for(stubbed, capsys):
    client = stubbed(
        "cloudformation",
        NONE,
        CREATED,
        described("CREATE_IN_PROGRESS"),
        events(BEGUN),
        described("CREATE_COMPLETE", outputs={"ClusterId": "j-1"}),
        events(BEGUN, DONE),
    )
    made = stack.put_stack(client, REQUEST)
    assert made.outputs == {"ClusterId": "j-1"}
    assert made.parameters == {"NodeSize": "xlarge"}
    told = capsys.readouterr().out.splitlines()
    assert told == ["  12:00:02  CREATE_COMPLETE       Cluster (EMR::Cluster)"]  # each event once, no noise


def test_a_failed_creation_says_why_and_that_nothing_is_left(stubbed):
    client = stubbed(
        "cloudformation",
        NONE,
        CREATED,
        described("DELETE_COMPLETE"),
        events(BEGUN, FAILED, CANCELLED),
        events(BEGUN, FAILED, CANCELLED),
    )
    with pytest.raises(InputError) as failed:
        stack.put_stack(client, REQUEST)
    assert "not enough Spot capacity" in str(failed.value)
    assert "cancelled" not in str(failed.value)
    assert "has taken back what it had made" in str(failed.value)


def test_a_creation_that_cannot_be_undone_says_so(stubbed):
    client = stubbed("cloudformation", NONE, CREATED, described("DELETE_FAILED"), events(FAILED), events(FAILED))
    with pytest.raises(InputError, match="has not taken everything back"):
        stack.put_stack(client, REQUEST)


def test_a_stack_that_is_there_is_updated(stubbed):
    client = stubbed(
        "cloudformation",
        described("CREATE_COMPLETE"),
        events(BEGUN, DONE),
        UPDATED,
        described("UPDATE_COMPLETE"),
        events(BEGUN, DONE, (5, "Cluster", "UPDATE_COMPLETE", "")),
    )
    assert stack.put_stack(client, REQUEST).status == "UPDATE_COMPLETE"


def test_old_events_are_not_told_again(stubbed, capsys):
    test_a_stack_that_is_there_is_updated(stubbed)
    assert capsys.readouterr().out.count("CREATE_COMPLETE") == 0


def test_nothing_to_update_is_no_failure(stubbed, capsys):
    client = stubbed(
        "cloudformation",
        described("UPDATE_COMPLETE"),
        events(),
        ("update_stack", {"Error": {"Code": "ValidationError", "Message": "No updates are to be performed."}}),
    )
    assert stack.put_stack(client, REQUEST).status == "UPDATE_COMPLETE"
    assert "up to date" in capsys.readouterr().out


def test_an_update_that_is_rolled_back_is_a_failure(stubbed):
    client = stubbed(
        "cloudformation",
        described("CREATE_COMPLETE"),
        events(),
        UPDATED,
        described("UPDATE_ROLLBACK_COMPLETE"),
        events((9, "Cluster", "UPDATE_FAILED", "bad size")),
        events((9, "Cluster", "UPDATE_FAILED", "bad size")),
    )
    with pytest.raises(InputError, match="bad size"):
        stack.put_stack(client, REQUEST)


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "DELETE_FAILED", "ROLLBACK_FAILED", "REVIEW_COMPLETE"])
def test_the_remains_of_a_failure_are_named_with_the_command_that_removes_them(stubbed, status):
    client = stubbed("cloudformation", described(status, "because"))
    with pytest.raises(InputError, match=rf"{status}: because.*delete-stack --stack-name fruits-cluster"):
        stack.put_stack(client, REQUEST)


def test_a_stack_that_is_being_made_is_waited_for(stubbed):
    """Whoever pressed Ctrl-C and comes back."""
    client = stubbed(
        "cloudformation",
        described("CREATE_IN_PROGRESS"),
        described("CREATE_COMPLETE"),
        events(BEGUN, DONE),
        events(BEGUN, DONE),
        UPDATED,
        described("UPDATE_COMPLETE"),
        events(BEGUN, DONE),
    )
    assert stack.put_stack(client, REQUEST).status == "UPDATE_COMPLETE"


def test_a_stack_that_is_being_deleted_is_waited_for_and_made_anew(stubbed):
    client = stubbed(
        "cloudformation",
        described("DELETE_IN_PROGRESS"),
        described("DELETE_COMPLETE"),
        events(),
        CREATED,
        described("CREATE_COMPLETE"),
        events(),
    )
    assert stack.put_stack(client, REQUEST).status == "CREATE_COMPLETE"


def test_deleting_waits_until_it_is_gone(stubbed):
    client = stubbed(
        "cloudformation",
        events(BEGUN, DONE),
        ("delete_stack", {}, {"StackName": "fruits-cluster"}),
        described("DELETE_IN_PROGRESS"),
        events(BEGUN, DONE),
        described("DELETE_COMPLETE"),
        events(BEGUN, DONE),
    )
    assert stack.delete_stack(client, Stack("fruits-cluster", ID, "CREATE_COMPLETE")).status == "DELETE_COMPLETE"


def test_what_cannot_be_deleted_is_named(stubbed):
    stuck = (6, "Network", "DELETE_FAILED", "has a dependent object")
    client = stubbed(
        "cloudformation", events(), ("delete_stack", {}), described("DELETE_FAILED"), events(stuck), events(stuck)
    )
    with pytest.raises(InputError, match=r"Network.*has a dependent object(.|\n)*may cost money"):
        stack.delete_stack(client, Stack("fruits-cluster", ID, "CREATE_COMPLETE"))


def test_no_stack_is_none_and_other_refusals_are_raised(stubbed):
    assert stack.find_stack(stubbed("cloudformation", NONE), "x") is None
    client = stubbed("cloudformation", ("describe_stacks", {"Error": {"Code": "AccessDenied", "Message": "no"}}))
    with pytest.raises(Exception, match="AccessDenied"):
        stack.find_stack(client, "x")


# ---- templates -------------------------------------------------------------------------------------------------------

TEMPLATE = """
Parameters:
  Must: {Type: String}
  May: {Type: String, Default: x}
  Other: {Type: Number, Default: 1}
Resources:
  B: {Type: AWS::S3::Bucket, Properties: {BucketName: !Ref Must, Tags: !If [A, !Sub "${B}", !GetAtt B.Arn]}}
"""


def test_only_what_a_template_asks_for_is_given():
    values = {"Must": "a", "May": None, "Unknown": "b", "Other": "2"}
    assert stack.select_parameters(TEMPLATE, values, "t.yaml") == {"Must": "a", "Other": "2"}


def test_a_missing_value_is_named():
    with pytest.raises(InputError, match=r"t\.yaml needs values for Must\."):
        stack.select_parameters(TEMPLATE, {"May": "b", "Must": None}, "t.yaml")


def test_a_template_without_parameters():
    assert stack.select_parameters("Resources: {}", {"A": "b"}, "t.yaml") == {}


def test_a_missing_or_too_large_template_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        stack.read_template(tmp_path / "nothing.yaml")
    large = tmp_path / "large.yaml"
    large.write_text("#" * 51_201)
    with pytest.raises(InputError, match="51,200"):
        stack.read_template(large)


def test_requests_are_the_same_for_the_same_parameters():
    assert REQUEST["Parameters"] == [
        {"ParameterKey": "A", "ParameterValue": "1"},
        {"ParameterKey": "B", "ParameterValue": "2"},
    ]
    assert {"Key": "project", "Value": "fruits"} in REQUEST["Tags"]
