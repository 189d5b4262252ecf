"""`kedro emr upload`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fruits_pipeline.emr import artifacts as files
from fruits_pipeline.emr import plan
from fruits_pipeline.emr import upload as uploads
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.commands.setup import Setup
from fruits_pipeline.emr.remains import Thing
from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError


@dataclass(frozen=True)
class Group:
    """Files that go together: what they are, where they go, and a way to go through them as often as needed."""

    name: str
    folders: tuple[str, ...]
    items: Callable[[], Iterable[files.Item]]


def artifact_group(settings: EmrSettings, found: files.Artifacts, but: Sequence[Path] = ()) -> Group:
    """What a cluster needs, without some of it."""
    items = [item for item in found.items(settings) if item.path not in but]
    return Group("artifacts", (files.FOLDER, files.ENCODERS), lambda: items)


def upload(setup: Setup, images: Path | None, with_artifacts: bool) -> None:
    """Sends artifacts, and images if a folder is given."""
    settings = setup.settings
    if images is None and not with_artifacts:
        raise InputError("There is nothing to upload: name a folder of images, or leave out --no-artifacts.")
    groups = [artifact_group(settings, files.find_artifacts(settings, setup.project))] if with_artifacts else []
    if images is not None:
        groups.append(Group("images", (files.RAW,), lambda: files.image_items(images, settings)))
    for group in groups:
        if setup.dry_run:
            show_uploads(setup, group)
        else:
            send(setup, group)


def show_uploads(setup: Setup, group: Group) -> None:
    """The first few of many; which are there already cannot be known without asking."""
    for item in itertools.islice(group.items(), 5):
        arguments = {"Filename": str(item.path), "Bucket": setup.settings.the_bucket, "Key": item.key}
        show_call("s3", "upload_file (unless it is there)", arguments)
    total = uploads.total(group.items())
    say(f"… and so on: {total.files:,} {group.name}, {plan.size_text(total.size)}")


def send(setup: Setup, group: Group) -> None:
    """Uploads what is not there; how far it came is on record, should somebody interrupt it."""
    from fruits_pipeline.emr.transfer import Bar

    bucket, total = setup.settings.the_bucket, uploads.total(group.items())
    s3, outcome = setup.client("s3"), uploads.Outcome()

    def state() -> str:
        there = outcome.uploaded + outcome.skipped
        return f"{there:,} of {total.files:,} files are there; the same command again sends the rest"

    remove = setup.command("terminate", "--delete-data")
    thing = Thing(f"{group.name} in s3://{bucket}", "what S3 takes for storage", remove, state)
    setup.remains.add(thing)
    present = uploads.list_folders(s3, bucket, [setup.settings.key(folder, "") for folder in group.folders])
    with Bar(f"uploading {group.name}", total) as bar:
        uploads.upload(s3, bucket, group.items(), present, bar.tell, outcome)
    size, skipped = plan.size_text(outcome.size), outcome.skipped
    say(f"{group.name}: {outcome.uploaded:,} files uploaded ({size}), {skipped:,} were there already")
    if outcome.failed:
        shown = "\n".join(outcome.failed[:10])
        raise InputError(f"{len(outcome.failed):,} files could not be read and are not in the bucket:\n{shown}")
    setup.remains.forget(thing.name)
