"""CloudFormation stacks: made, watched, and taken down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from fruits_pipeline.emr.aws import error_code, pause, say
from fruits_pipeline.errors import InputError

POLL_SECONDS: Final = 5.0
TAGS: Final = {"project": "fruits"}
MAX_TEMPLATE: Final = 51_200
"""Bytes of a TemplateBody (docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html)."""

GONE: Final = "DELETE_COMPLETE"
_GOOD: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


@dataclass(frozen=True)
class Stack:
    """A stack as CloudFormation describes it.

    Attributes:
        name: Its name.
        id: Its unique id, by which even a deleted stack can be described.
        status: For example CREATE_COMPLETE.
        reason: Why, if CloudFormation says so.
        parameters: Values it was made with.
        outputs: What it says of its resources.
    """

    name: str
    id: str
    status: str
    reason: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def find_stack(client: Any, name: str) -> Stack | None:
    """Looks a stack up.

    Args:
        client: Of CloudFormation.
        name: Name or id.

    Returns:
        The stack, or None if there is none of this name.
    """
    try:
        found = client.describe_stacks(StackName=name)["Stacks"]
    except Exception as error:
        if error_code(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    stack = found[0]
    return Stack(
        name=stack["StackName"],
        id=stack["StackId"],
        status=stack["StackStatus"],
        reason=stack.get("StackStatusReason", ""),
        parameters={item["ParameterKey"]: item.get("ParameterValue", "") for item in stack.get("Parameters", [])},
        outputs={item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])},
    )


def read_template(path: Path) -> str:
    """Reads a template.

    Raises:
        InputError: If it is not there, or larger than CloudFormation takes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The template {path} cannot be read ({error}). Start the command in the project's folder."
        ) from error
    if len(text.encode()) > MAX_TEMPLATE:
        raise InputError(f"The template {path} is larger than the {MAX_TEMPLATE:,} bytes that CloudFormation takes.")
    return text


class _AnyTag(yaml.SafeLoader):
    """YAML with CloudFormation's tags (!Ref, !Sub …), whose values are not needed here."""


_AnyTag.add_multi_constructor("!", lambda loader, suffix, node: None)


def template_parameters(template: str) -> dict[str, dict[str, Any]]:
    """The parameters that a template declares, by name."""
    declared: dict[str, dict[str, Any]] = yaml.load(template, Loader=_AnyTag).get("Parameters") or {}
    return declared


def select_parameters(template: str, values: Mapping[str, str | None], where: str) -> dict[str, str]:
    """Takes those values that the template asks for.

    Args:
        template: Its text.
        values: By name of the parameter; None where nobody has said.
        where: Name of the template, for errors.

    Returns:
        Values by name.

    Raises:
        InputError: If a parameter without a default has no value.
    """
    declared = template_parameters(template)
    missing = [name for name, rule in declared.items() if "Default" not in rule and values.get(name) is None]
    if missing:
        raise InputError(
            f"{where} needs values for {', '.join(missing)}. Give them in conf/cloud/emr.yml under "
            "template_parameters, or with the options of this command."
        )
    return {name: str(values[name]) for name in declared if values.get(name) is not None}


def stack_request(name: str, template: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `create_stack` and `update_stack`."""
    return {
        "StackName": name,
        "TemplateBody": template,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        "Tags": [{"Key": key, "Value": value} for key, value in TAGS.items()],
    }


def put_stack(client: Any, request: Mapping[str, Any]) -> Stack:
    """Creates a stack, or updates it if it is there, and waits, telling what happens.

    A creation that fails takes back what it has made, so that nothing is left that costs money. A stack that is still
    being made (somebody pressed Ctrl-C) is waited for.

    Args:
        client: Of CloudFormation.
        request: As `stack_request` makes it.

    Returns:
        The finished stack.

    Raises:
        InputError: If it fails, with CloudFormation's reasons, or if the remains of an earlier failure are in the way.
    """
    name = request["StackName"]
    old = find_stack(client, name)
    if old is not None and old.status.endswith("_IN_PROGRESS"):
        say(f"Stack {name} is {old.status}; waiting for it.")
        old = wait_for_stack(client, old)
        old = None if old.status == GONE else old
    if old is None:
        stack_id = client.create_stack(**request, OnFailure="DELETE")["StackId"]
        return _finished(client, wait_for_stack(client, Stack(name, stack_id, "CREATE_IN_PROGRESS")))
    if old.status not in _GOOD:
        raise InputError(
            f"Stack {name} is left over from an attempt that failed ({old.status}: {old.reason or 'no reason given'}). "
            f"Remove it (aws cloudformation delete-stack --stack-name {name}) and try again."
        )
    return _updated(client, old, request)


def _updated(client: Any, old: Stack, request: Mapping[str, Any]) -> Stack:
    known = _event_ids(client, old)
    try:
        client.update_stack(**request)
    except Exception as error:
        if error_code(error) == "ValidationError" and "No updates are to be performed" in str(error):
            say(f"Stack {old.name} is up to date.")
            return old
        raise
    return _finished(client, wait_for_stack(client, old, known))


def _finished(client: Any, stack: Stack) -> Stack:
    if stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return stack
    reasons = failures(client, stack)
    raise InputError(
        "\n".join(
            [
                f"Stack {stack.name} failed ({stack.status}):",
                *(reasons or [stack.reason or "CloudFormation gives no reason"]),
                "CloudFormation has taken back what it had made."
                if stack.status in (GONE, "UPDATE_ROLLBACK_COMPLETE", "ROLLBACK_COMPLETE")
                else "CloudFormation has not taken everything back.",
                "Mend what it names, and run the same command again (troubleshooting: bootstrap/README.md).",
            ]
        )
    )


def wait_for_stack(client: Any, stack: Stack, known: frozenset[str] = frozenset()) -> Stack:
    """Waits until CloudFormation has finished with a stack, and tells each step.

    Args:
        client: Of CloudFormation.
        stack: What is under way.
        known: Ids of events that need not be told.

    Returns:
        The stack in its final status; DELETE_COMPLETE too.
    """
    seen = set(known)
    while True:
        now = find_stack(client, stack.id) or Stack(stack.name, stack.id, GONE)
        for event in _events(client, stack):
            if event["EventId"] not in seen:
                seen.add(event["EventId"])
                _tell(event)
        if not now.status.endswith("_IN_PROGRESS"):
            return now
        pause(POLL_SECONDS)


def delete_stack(client: Any, stack: Stack) -> Stack:
    """Takes a stack down and waits, telling what happens.

    Returns:
        The stack, DELETE_COMPLETE.

    Raises:
        InputError: If CloudFormation cannot remove something.
    """
    known = _event_ids(client, stack)
    client.delete_stack(StackName=stack.name)
    now = wait_for_stack(client, Stack(stack.name, stack.id, "DELETE_IN_PROGRESS"), known)
    if now.status != GONE:
        lines = [
            f"Stack {stack.name} could not be removed ({now.status}):",
            *failures(client, now),
            "Mend what it names and run the same command again; until then what is left may cost money.",
        ]
        raise InputError("\n".join(lines))
    return now


def _event_ids(client: Any, stack: Stack) -> frozenset[str]:
    return frozenset(event["EventId"] for event in _events(client, stack))


def _events(client: Any, stack: Stack) -> list[dict[str, Any]]:
    """All events, oldest first."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack.id)
    return [event for page in pages for event in page["StackEvents"]][::-1]


def _tell(event: Mapping[str, Any]) -> None:
    status, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
    if status.endswith("_IN_PROGRESS") and reason in ("", "Resource creation Initiated"):
        return  # each resource has two of these
    where = f"{event['LogicalResourceId']} ({event['ResourceType'].removeprefix('AWS::')})"
    say(f"  {event['Timestamp']:%H:%M:%S}  {status:<20}  {where}{': ' + reason if reason else ''}")


def failures(client: Any, stack: Stack) -> list[str]:
    """Why a stack failed: the events that failed themselves, not those that were cancelled because of them."""
    return [
        f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
        for event in _events(client, stack)
        if event["ResourceStatus"].endswith("_FAILED")
        and "cancelled" not in event.get("ResourceStatusReason", "").lower()
    ]
