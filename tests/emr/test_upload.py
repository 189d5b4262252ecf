"""Uploading: everything, once, and again from where it stopped."""

import hashlib
from io import StringIO

import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from fruits_pipeline.emr import upload as uploads
from fruits_pipeline.emr.artifacts import Item
from fruits_pipeline.emr.transfer import Bar

from .conftest import BUCKET
from .conftest import bucket as make_bucket

pytestmark = pytest.mark.usefixtures("cloud")


@pytest.fixture
def files(tmp_path):
    """More than there are workers, with names that need care."""
    items = []
    for i in range(40):
        path = tmp_path / f"é {i}.jpg"
        path.write_bytes(bytes([i]) * (i + 1))
        items.append(Item(path, f"fruits/01_raw/Pomme d'été/é {i}.jpg", i + 1))
    return items


def send(s3, items, **options):
    return uploads.upload(s3, BUCKET, items, uploads.list_present(s3, BUCKET, "fruits/"), **options)


def stored(s3):
    return {
        item["Key"]: s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    }


def test_every_file_arrives_whole(files):
    s3 = make_bucket()
    outcome = send(s3, files)
    assert stored(s3) == {item.key: item.path.read_bytes() for item in files}
    assert (outcome.uploaded, outcome.skipped, outcome.size) == (40, 0, sum(range(1, 41)))


def test_the_second_time_nothing_is_sent_and_no_date_changes(files):
    """A new date would make a new image of each."""
    s3 = make_bucket()
    send(s3, files)
    before = {item["Key"]: item["LastModified"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    outcome = send(s3, files)
    after = {item["Key"]: item["LastModified"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert (outcome.uploaded, outcome.skipped, outcome.size) == (0, 40, 0)
    assert after == before


def test_a_changed_file_is_sent_even_if_its_size_is_the_same(files):
    s3 = make_bucket()
    send(s3, files)
    files[7].path.write_bytes(b"x" * 8)
    assert send(s3, files).uploaded == 1
    assert stored(s3)[files[7].key] == b"x" * 8


def test_an_object_cut_short_is_sent_again(files):
    s3 = make_bucket()
    s3.put_object(Bucket=BUCKET, Key=files[9].key, Body=b"cut")
    s3.head_object = None  # the listing says enough
    assert send(s3, files[9:10]).uploaded == 1
    assert stored(s3)[files[9].key] == files[9].path.read_bytes()


def test_checksum_and_date_are_kept_beside_the_object(files):
    s3 = make_bucket()
    send(s3, files[:1])
    metadata = s3.head_object(Bucket=BUCKET, Key=files[0].key)["Metadata"]
    assert metadata["sha256"] == hashlib.sha256(files[0].path.read_bytes()).hexdigest()
    assert metadata["mtime"].endswith("+00:00")


def test_files_in_parts_are_known_again_by_their_checksum(tmp_path, monkeypatch):
    """Their ETag is no MD5."""
    monkeypatch.setattr(uploads, "PART_BYTES", 5 * 1024 * 1024)
    s3 = make_bucket()
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(range(256)) * 4 * 6000)
    items = [Item(path, "fruits/large.jpg", path.stat().st_size)]
    send(s3, items)
    assert uploads.list_present(s3, BUCKET, "fruits/")["fruits/large.jpg"].etag.endswith("-2")
    assert stored(s3)["fruits/large.jpg"] == path.read_bytes()
    assert send(s3, items).skipped == 1
    changed = bytearray(path.read_bytes())
    changed[12345] ^= 1
    path.write_bytes(changed)
    assert send(s3, items).uploaded == 1


def test_a_file_that_cannot_be_read_is_named_and_the_others_arrive(files):
    s3 = make_bucket()
    files[3].path.unlink()
    outcome = send(s3, files)
    assert outcome.uploaded == 39
    assert outcome.failed == [f"{files[3].path}: No such file or directory"]


def test_what_aws_refuses_ends_the_upload_and_a_second_one_does_the_rest(files):
    s3 = make_bucket()
    outcome = uploads.Outcome()

    def fail_at_ten(item, sent):
        if outcome.uploaded == 10:
            raise ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "PutObject")

    with pytest.raises(ClientError):
        send(s3, files, told=fail_at_ten, outcome=outcome)
    assert outcome.uploaded == 10
    there = len(stored(s3))
    assert there >= 10
    assert send(s3, files).uploaded == 40 - there
    assert len(stored(s3)) == 40


def test_a_listing_of_many_pages_is_whole():
    s3 = make_bucket()
    for i in range(7):
        s3.put_object(Bucket=BUCKET, Key=f"fruits/{i}", Body=b"12")
    s3.put_object(Bucket=BUCKET, Key="other/1", Body=b"")
    paginate = s3.get_paginator

    class SmallPages:
        def __init__(self, operation):
            self.paginator = paginate(operation)

        def paginate(self, **arguments):
            return self.paginator.paginate(**arguments, PaginationConfig={"PageSize": 3})

    s3.get_paginator = SmallPages
    present = uploads.list_present(s3, BUCKET, "fruits/")
    assert {key: item.size for key, item in present.items()} == {f"fruits/{i}": 2 for i in range(7)}


def test_only_the_folders_asked_for_are_listed():
    s3 = make_bucket()
    for key in ("fruits/artifacts/a", "fruits/01_raw/b", "fruits/06_models/c"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert list(uploads.list_folders(s3, BUCKET, ["fruits/artifacts/", "fruits/06_models/"])) == [
        "fruits/artifacts/a",
        "fruits/06_models/c",
    ]


def test_the_bar_counts_files_and_bytes(files):
    screen = StringIO()
    with Bar("uploading images", uploads.total(files), Console(file=screen, force_terminal=True, width=120)) as bar:
        for item in files:
            bar.tell(item, sent=True)
        task = bar._progress.tasks[0]
        assert (task.completed, task.fields["files"]) == (sum(range(1, 41)), "40/40 files")
    assert "uploading images" in screen.getvalue()


def test_without_a_terminal_there_is_no_bar(files, capsys):
    with Bar("uploading", uploads.total(files)) as bar:
        bar.tell(files[0], sent=False)
    assert capsys.readouterr() == ("", "")
