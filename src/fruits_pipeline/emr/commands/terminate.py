"""`kedro emr terminate`."""

from __future__ import annotations

from typing import Any

import click

from fruits_pipeline.emr import aws, leftovers, stack, steps
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.commands.deploy import actual, status_of
from fruits_pipeline.emr.commands.setup import Setup, confirm
from fruits_pipeline.emr.remains import Thing
from fruits_pipeline.errors import InputError


def terminate(setup: Setup, yes: bool, delete_data: bool) -> bool:
    """Takes cluster and serverless application down, and shows what is left; whether nothing of ours runs."""
    settings = setup.settings
    if setup.dry_run:
        _show_terminate(setup, delete_data)
        return True
    cloudformation = setup.client("cloudformation")
    found = [stack.find_stack(cloudformation, settings.stack(part)) for part in ("cluster", "serverless")]
    ours = [one for one in found if one is not None and one.status != stack.GONE]
    if ours:
        confirm(f"End {', '.join(one.name for one in ours)}? Steps that run there are lost.", yes)
    for one in ours:
        _take_down(setup, cloudformation, one)
    if delete_data:
        _delete_data(setup, cloudformation)
    return _show_leftovers(setup, cloudformation)


def _show_terminate(setup: Setup, delete_data: bool) -> None:
    settings = setup.settings
    for part in ("cluster", "serverless"):
        show_call("cloudformation", "delete_stack (if it is there)", {"StackName": settings.stack(part)})
    if delete_data:
        show_call("s3", "delete_objects (all versions)", {"Bucket": settings.the_bucket})
        show_call("cloudformation", "delete_stack", {"StackName": settings.stack("storage")})
        show_call("s3", "delete_bucket", {"Bucket": settings.the_bucket})
    show_call("emr", "list_clusters", {"ClusterStates": [*steps.ALIVE, "TERMINATING"]})
    show_call("emr-serverless", "list_applications", {"states": list(leftovers.APPLICATION_STATES)})


def _take_down(setup: Setup, cloudformation: Any, one: stack.Stack) -> None:
    cost = setup.hourly(actual(setup.settings, one)) if one.name.endswith("-cluster") else "what its running jobs need"
    thing = Thing(f"stack {one.name}", cost, setup.command("terminate"), lambda: status_of(cloudformation, one.name))
    setup.remains.add(thing)
    say(f"Ending stack {one.name} …")
    if "ApplicationId" in one.outputs:
        _stop_application(setup, one.outputs["ApplicationId"])
    stack.delete_stack(cloudformation, one)
    setup.remains.forget(thing.name)


def _stop_application(setup: Setup, application: str) -> None:
    """A started application cannot be deleted; one that is gone needs no stopping."""
    serverless = setup.client("emr-serverless")
    try:
        serverless.stop_application(applicationId=application)
        while serverless.get_application(applicationId=application)["application"]["state"] == "STOPPING":
            aws.pause(stack.POLL_SECONDS)
    except Exception as error:
        if aws.error_code(error) not in ("ResourceNotFoundException", "ValidationException"):
            raise


def _delete_data(setup: Setup, cloudformation: Any) -> None:
    """All images, features and reports, in all versions, and the bucket itself."""
    settings = setup.settings
    bucket = settings.the_bucket
    s3 = setup.client("s3")
    if leftovers.stored(s3, bucket) is None:
        say(f"There is no bucket {bucket}.")
        return
    say(f"This deletes everything in s3://{bucket}, images and features, in all versions. It cannot be undone.")
    if click.prompt("Type the name of the bucket") != bucket:
        raise InputError("Nothing was deleted: that is not the bucket's name.")
    remove = setup.command("terminate", "--delete-data")
    thing = Thing(f"bucket {bucket}", "what S3 takes for storage", remove, lambda: "partly deleted")
    setup.remains.add(thing)
    count = leftovers.empty_bucket(s3, bucket, lambda done: say(f"  {done:,} versions deleted"))
    storage = stack.find_stack(cloudformation, settings.stack("storage"))
    if storage is not None and storage.status != stack.GONE:
        stack.delete_stack(cloudformation, storage)
    if leftovers.stored(s3, bucket) is not None:
        s3.delete_bucket(Bucket=bucket)
    setup.remains.forget(thing.name)
    say(f"{count:,} versions and the bucket are deleted.")


def _show_leftovers(setup: Setup, cloudformation: Any) -> bool:
    """What runs in the region and what is stored; whether none of what runs is ours."""
    settings = setup.settings
    running = [
        *leftovers.active_clusters(setup.client("emr")),
        *leftovers.applications(setup.client("emr-serverless")),
    ]
    ours = [one for one in running if one.name == settings.name or one.name.startswith(f"{settings.name}-")]
    say(f"Left in {settings.region}:")
    for one in running:
        say(f"  {'✗' if one in ours else '–'} {one}{'' if one in ours else ' – of another name, left alone'}")
    if not running:
        say("  ✓ no cluster and no serverless application")
    say(f"  – {_bucket_line(setup)}")
    for part in ("storage", "budget"):
        if status_of(cloudformation, settings.stack(part)) is not None:
            say(f"  – stack {settings.stack(part)}: costs nothing by itself")
    if settings.bucket and not ours:
        say(f"To delete the data too: {setup.command('terminate', '--delete-data')}")
    return not ours


def _bucket_line(setup: Setup) -> str:
    bucket = setup.settings.bucket
    if bucket is None:
        return "no bucket named (FRUITS_BUCKET or --bucket), so none was looked at"
    return leftovers.describe_stored(bucket, leftovers.stored(setup.client("s3"), bucket), setup.prices)
