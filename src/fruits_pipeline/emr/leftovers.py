"""What is left when a cluster is gone: what runs, what is stored, and what that costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from fruits_pipeline.emr.aws import error_code
from fruits_pipeline.emr.plan import size_text
from fruits_pipeline.emr.prices import PriceTable, money
from fruits_pipeline.emr.steps import ALIVE
from fruits_pipeline.errors import InputError

APPLICATION_STATES: Final = ("CREATING", "CREATED", "STARTING", "STARTED", "STOPPING", "STOPPED")
PAGES: Final = 100
"""Pages of a listing that are counted: a hundred thousand objects, for less than a cent."""

KEYS_PER_PAGE: Final = 1000
"""The most that S3 gives."""


@dataclass(frozen=True)
class Running:
    """A cluster or serverless application that exists."""

    kind: str
    id: str
    name: str
    state: str

    def __str__(self) -> str:
        """For a person."""
        return f"{self.kind} {self.id} ({self.name}): {self.state}"


def active_clusters(client: Any) -> list[Running]:
    """All clusters of the region that are not ended: those of others too."""
    pages = client.get_paginator("list_clusters").paginate(ClusterStates=[*ALIVE, "TERMINATING"])
    return [
        Running("cluster", found["Id"], found.get("Name", ""), found["Status"]["State"])
        for page in pages
        for found in page["Clusters"]
    ]


def applications(client: Any) -> list[Running]:
    """All EMR Serverless applications of the region that are not deleted."""
    pages = client.get_paginator("list_applications").paginate(states=list(APPLICATION_STATES))
    return [
        Running("serverless application", found["id"], found.get("name", ""), found["state"])
        for page in pages
        for found in page["applications"]
    ]


@dataclass(frozen=True)
class Stored:
    """What lies in a bucket: objects and bytes, and whether counting stopped before the end."""

    objects: int
    size: int
    more: bool


def stored(client: Any, bucket: str) -> Stored | None:
    """Counts a bucket's objects; None if there is no such bucket."""
    pages = iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, MaxKeys=KEYS_PER_PAGE))
    try:
        sizes = [[item["Size"] for item in page.get("Contents", [])] for page in itertools.islice(pages, PAGES)]
    except Exception as error:
        if error_code(error) in ("NoSuchBucket", "404"):
            return None
        raise
    more = next(pages, None) is not None
    return Stored(sum(map(len, sizes)), sum(map(sum, sizes)), more)


def describe_stored(bucket: str, found: Stored | None, prices: PriceTable | None) -> str:
    """The bucket in one line."""
    if found is None:
        return f"bucket {bucket}: does not exist"
    cost = f", about {money(found.size / 1e9 * prices.s3_gb_month, prices)} a month" if prices else ""
    least = "at least " if found.more else ""
    size = size_text(found.size)
    return f"bucket {bucket}: {least}{found.objects:,} objects, {least}{size}{cost} (older versions not counted)"


def empty_bucket(client: Any, bucket: str, told: Callable[[int], None]) -> int:
    """Deletes all objects of a bucket, all their versions, and unfinished uploads.

    Args:
        client: Of S3.
        bucket: Which.
        told: Called with the number of versions deleted so far.

    Returns:
        How many versions were deleted.

    Raises:
        InputError: If S3 refuses single objects; it says which.
    """
    for upload in _unfinished_uploads(client, bucket):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    count = 0
    for batch in _version_batches(client, bucket):
        errors = client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
        if errors:
            raise InputError(
                f"S3 does not delete {len(errors)} objects, among them {errors[0].get('Key')}: "
                f"{errors[0].get('Message')}. Mend that and run the same command again."
            )
        count += len(batch)
        told(count)
    return count


def _unfinished_uploads(client: Any, bucket: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    return [upload for page in pages for upload in page.get("Uploads", [])]


def _version_batches(client: Any, bucket: str) -> Iterator[list[dict[str, str]]]:
    """Versions and delete markers, a thousand at a time, as S3 takes them."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        batch = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        if batch:
            yield batch
