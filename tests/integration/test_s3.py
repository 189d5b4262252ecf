"""Listing and reading against a real S3 server, with a proxy on the way that counts requests and breaks them."""

import os
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pytest

from fruits_pipeline import s3
from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import File, list_files
from fruits_pipeline.storage import publish, read_files, unfinished_file

from .s3_proxy import Fault, Request

pytestmark = pytest.mark.slow

ODD_NAMES = [
    "plain.jpg",
    "a blank.jpg",
    " leading and trailing .jpg ",
    "é à ü ñ 果物.jpg",
    "e\u0301 combining.jpg",
    "a#b.jpg",
    "a%20b.jpg",
    "a%2Fb.jpg",
    "100%.jpg",
    "a::b.jpg",
    "a?versionId=1.jpg",
    "a[x]/{b,c}*.jpg",
    "a+b&c=d;e@f!.jpg",
    "a'b\"c<d>|^`.jpg",
    "~.jpg",
    "$HOME.jpg",
    "(1).jpg",
    "🍎.jpg",
    "_under/x..y.jpg",
    "x...jpg",
    "new\nline.jpg",
    "tab\t.jpg",
    "\x7f.jpg",
]
HIDDEN_NAMES = [".hidden/x.jpg", "a b/._mac.jpg"]


def flat(root: str) -> dict[str, File]:
    files = [file for page in list_files(root) for file in page]
    assert len({file.path for file in files}) == len(files)
    return {file.path: file for file in files}


def first_time(kind: str, fault: Fault, times: int = 1) -> Callable[[Request], Fault]:
    """Breaks the first requests of a kind (`is_read`, `is_listing`) and lets all others pass."""
    left = [fault] * times
    return lambda request: left.pop() if left and getattr(request, kind) else Fault()


def always(fault: Fault) -> Callable[[Request], Fault]:
    return lambda request: fault if request.is_read else Fault()


# ---- listing ---------------------------------------------------------------------------------------------------------


def test_odd_names_are_listed_and_read(folder):
    contents = {name: name.encode() for name in [*ODD_NAMES, *HIDDEN_NAMES, "empty.jpg"]} | {"empty.jpg": b""}
    folder.fill(contents)
    found = flat(folder.root)
    assert {path: file.length for path, file in found.items()} == {
        f"{folder.root}/{name}": len(content) for name, content in contents.items()
    }
    assert {path for path, file in found.items() if file.hidden} == {f"{folder.root}/{name}" for name in HIDDEN_NAMES}
    assert {file.path: (file.content, file.problem) for file in read_files(found, 4)} == {
        f"{folder.root}/{name}": (content, None) for name, content in contents.items()
    }


def test_times_are_those_of_s3(s3_server, folder):
    folder.fill({"1.jpg": b"1"})
    head = s3_server.client().head_object(Bucket=folder.bucket, Key=f"{folder.prefix}/1.jpg")
    (file,) = flat(folder.root.replace("s3://", "s3a://")).values()
    assert file.modification_time.replace(microsecond=0) == head["LastModified"]
    assert file.modification_time.utcoffset().total_seconds() == 0


def test_a_prefix_is_a_folder(folder):
    folder.fill(dict.fromkeys(["fruits/1.jpg", "fruits2/2.jpg", "fruits.jpg", "other/fruits/3.jpg"], b"x"))
    for root in (f"{folder.root}/fruits", f"{folder.root}/fruits/"):
        assert set(flat(root)) == {f"{folder.root}/fruits/1.jpg"}


def test_a_whole_bucket(s3_server, sign_in):
    s3_server.fill("whole-bucket", {"1.jpg": b"1"})
    s3_server.fill("whole-bucket", {"a/2.jpg": b"2"})
    for root in ("s3://whole-bucket", "s3://whole-bucket/"):
        assert set(flat(root)) == {"s3://whole-bucket/1.jpg", "s3://whole-bucket/a/2.jpg"}


def test_folders_that_consoles_create_are_no_files(folder):
    folder.fill({"fruits/": b""})
    folder.fill({"fruits/Apple/": b""})
    folder.fill({"fruits/Apple/1.jpg": b"1"})
    assert set(flat(f"{folder.root}/fruits")) == {f"{folder.root}/fruits/Apple/1.jpg"}


def test_nothing_there(folder):
    assert list(list_files(folder.root)) == []


def test_pages_are_asked_for_when_they_are_needed(folder, proxy):
    folder.fill({f"{number:04}.jpg": b"" for number in range(1050)})
    pages, seen = list_files(folder.root), set()
    for asked, (size, page) in enumerate(zip([1000, 50], pages, strict=False), start=1):
        assert len(page) == size
        assert len(proxy.listings) == asked
        seen.update(file.path for file in page)
    assert seen == {f"{folder.root}/{number:04}.jpg" for number in range(1050)}
    assert next(pages, None) is None
    assert len(proxy.listings) == 2


@pytest.mark.parametrize(
    "fault", [Fault(status=503, code="SlowDown"), Fault(status=500, code="InternalError"), Fault(drop_after=50)]
)
def test_listing_survives_passing_faults(folder, proxy, fault):
    folder.fill({f"{number}.jpg": b"1" for number in range(50)})
    proxy.fault = first_time("is_listing", fault)
    assert len(flat(folder.root)) == 50
    assert len(proxy.listings) == 2


# ---- reading ---------------------------------------------------------------------------------------------------------


def numbered(folder, count: int) -> dict[str, bytes]:
    """Uploads `count` small objects: their paths and contents."""
    contents = {f"{number}.jpg": b"content of %d" % number for number in range(count)}
    folder.fill(contents)
    return {f"{folder.root}/{name}": content for name, content in contents.items()}


def test_one_request_for_one_object(folder, proxy):
    contents = numbered(folder, 40)
    assert [file.content for file in read_files(contents, 8)] == list(contents.values())
    assert sorted(proxy.reads) == sorted(path.removeprefix("s3://") for path in contents)
    assert [request.method for request in proxy.requests if request.method != "GET"] == ["HEAD"]  # region of the bucket


@pytest.mark.parametrize("read_ahead", [1, 8, 16])
def test_late_answers_are_awaited_together(folder, proxy, read_ahead):
    contents = numbered(folder, 3 * read_ahead)
    proxy.fault = always(Fault(delay=0.1))
    assert [file.content for file in read_files(contents, read_ahead)] == list(contents.values())
    assert proxy.most_reading == read_ahead


def test_what_was_deleted_since_has_vanished(folder):
    names = ["0.jpg", "1.jpg", "2.jpg", "odd\n.jpg"]
    folder.fill(dict.fromkeys(names, b"x"))
    for name in ("1.jpg", "odd\n.jpg"):
        folder.delete(name)
    files = list(read_files([f"{folder.root}/{name}" for name in names], 4))
    assert [file.problem.reason if file.problem else None for file in files] == [None, "vanished", None, "vanished"]
    assert f"{folder.root}/1.jpg" in files[1].problem.detail


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("{}.jpg", Fault(status=503, code="SlowDown")),
        ("{}.jpg", Fault(status=500, code="InternalError")),
        ("{}.jpg", Fault(drop_after=0)),
        ("{}.jpg", Fault(drop_after=70_000)),
        ("{}.jpg", Fault(bytes_per_second=400_000)),
        ("odd\n{}.jpg", Fault(status=503, code="SlowDown")),
    ],
)
def test_reading_survives_passing_faults(folder, proxy, name, fault):
    contents = {name.format(number): os.urandom(100_000) for number in range(5)}
    folder.fill(contents)
    proxy.fault = first_time("is_read", fault, times=2)
    files = list(read_files([f"{folder.root}/{name}" for name in contents], 2))
    assert [file.content for file in files] == list(contents.values())
    assert [file.problem for file in files] == [None] * 5


def test_an_object_that_is_replaced_while_it_is_read(folder, proxy):
    """The rest of the new bytes must not end up behind the first of the old ones."""
    old, new = b"old" * 30_000, b"new" * 30_000
    folder.fill({"1.jpg": old})

    def replace(request: Request) -> Fault:
        if request.is_read and len(proxy.reads) == 2:
            folder.fill({"1.jpg": new})
        return Fault(drop_after=30_000) if request.is_read and len(proxy.reads) == 1 else Fault()

    proxy.fault = replace
    with pytest.raises(OSError, match=r"1\.jpg"):
        list(read_files([f"{folder.root}/1.jpg"], 1))
    assert next(read_files([f"{folder.root}/1.jpg"], 1)).content == new


@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("1.jpg", 403, "InvalidObjectState", "The operation is not valid for the object's storage class"),
        ("odd\n.jpg", 403, "InvalidObjectState", "The operation is not valid for the object's storage class"),
        ("1.jpg", 403, "AccessDenied", "User: x is not authorized to perform: kms:Decrypt on the resource"),
        ("1.jpg", 400, "KMS.DisabledException", "The key is disabled."),
        ("1.jpg", 400, "InvalidRequest", "The object was stored using a form of Server Side Encryption."),
    ],
)
def test_one_object_out_of_reach_is_unreadable(folder, proxy, name, status, code, message):
    folder.fill(dict.fromkeys(["0.jpg", name, "2.jpg"], b"x"))
    locked = Fault(status=status, code=code, message=message)
    proxy.fault = lambda request: locked if request.key.endswith(name) else Fault()
    before, file, after = read_files([f"{folder.root}/{each}" for each in ("0.jpg", name, "2.jpg")], 4)
    assert (before.content, after.content) == (b"x", b"x")
    assert file.problem.reason == "unreadable"
    assert code in file.problem.detail
    assert len(proxy.reads) == 3  # a refusal is not asked for twice


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=503, code="SlowDown", message="Please reduce your request rate."), OSError),
        (Fault(drop_after=1), OSError),
        (Fault(status=403, code="AccessDenied", message="Access Denied"), InputError),
        (Fault(status=400, code="ExpiredToken", message="The provided token has expired."), InputError),
        (Fault(status=403, code="RequestTimeTooSkewed", message="The difference is too large."), InputError),
    ],
)
def test_what_is_no_fault_of_the_image_fails_the_task(folder, proxy, monkeypatch, fault, error):
    monkeypatch.setattr(s3, "_retries", lambda: {"max_retries": 1})
    folder.fill({"1.jpg": b"12345"})
    proxy.fault = always(fault)
    with pytest.raises(error, match=rf"{folder.root}/1\.jpg") as caught:
        list(read_files([f"{folder.root}/1.jpg"], 4))
    assert fault.code in str(caught.value)
    assert len(proxy.reads) == (1 if error is InputError else 2)


# ---- writing ---------------------------------------------------------------------------------------------------------


def written(target: str, content: bytes) -> None:
    with unfinished_file(target) as path:
        path.write_bytes(content)
        publish(path, target)


@pytest.mark.parametrize("name", ["part-00000.parquet", "é 果 #1%20/a[x]+b.parquet", "new\nline"])
@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_a_file_is_written_as_it_is(s3_server, folder, scheme, name):
    target = f"{folder.root}/{name}".replace("s3://", f"{scheme}://")
    for content in (b"old" * 10, b"", os.urandom(3_000_000)):
        written(target, content)
        found = s3_server.client().get_object(Bucket=folder.bucket, Key=f"{folder.prefix}/{name}")["Body"].read()
        assert found == content


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, code="SlowDown"),
        Fault(status=500, code="InternalError"),
        Fault(unsent=True),
        Fault(lost=True),
    ],
    ids=["throttled", "server", "unsent", "lost"],
)
def test_writing_survives_passing_faults(folder, proxy, fault):
    content = os.urandom(500_000)
    proxy.fault = first_time("is_write", fault, times=2)
    written(f"{folder.root}/x.parquet", content)
    assert [file.content for file in read_files([f"{folder.root}/x.parquet"], 1)] == [content]
    assert len([request for request in proxy.requests if request.is_write]) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=403, code="AccessDenied", message="Access Denied"), "s3:PutObject"),
        (Fault(status=403, code="AccessDenied", message="not authorized to perform: kms:GenerateDataKey"), "kms:Gener"),
        (Fault(status=400, code="ExpiredToken", message="The provided token has expired."), "aws sso login"),
    ],
    ids=["permission", "key", "token"],
)
def test_who_may_not_write_is_told_so_at_once(folder, proxy, fault, words):
    proxy.fault = lambda request: fault if request.is_write else Fault()
    with pytest.raises(InputError, match=words) as caught:
        written(f"{folder.root}/x.parquet", b"x")
    assert f"{folder.root}/x.parquet" in str(caught.value)
    assert len([request for request in proxy.requests if request.is_write]) == 1
    assert flat(folder.root) == {}


# ---- who may ---------------------------------------------------------------------------------------------------------

REFUSED = {
    "a wrong key": ("admin", {"AWS_ACCESS_KEY_ID": "unknown"}, ["InvalidAccessKeyId", "aws sso login"]),
    "a wrong secret": ("admin", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ["SignatureDoesNotMatch", "aws sso login"]),
    "no permission": ("stranger", {}, ["AccessDenied", "s3:ListBucket on arn:aws:s3:::fruits-test", "s3:GetObject"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_cure(folder, proxy, sign_in, case):
    identity, changes, words = REFUSED[case]
    folder.fill({"1.jpg": b"1"})
    sign_in(identity, **changes)
    for use in (list_files, lambda root: read_files([f"{root}/1.jpg"], 4)):
        with pytest.raises(InputError) as caught:
            list(use(folder.root))
        assert [word for word in words if word not in str(caught.value)] == []
    assert len(proxy.listings) == len(proxy.reads) == 1  # asking again would not help


def test_a_reader_may_read(folder, sign_in):
    folder.fill({"1.jpg": b"1"})
    sign_in("reader")
    assert [file.content for file in read_files(flat(folder.root), 4)] == [b"1"]


def test_a_reader_may_not_write(s3_server, folder, sign_in):
    s3.check_writable(folder.bucket, folder.prefix)
    assert flat(folder.root) == {}  # nothing is left
    sign_in("reader")
    with pytest.raises(InputError, match=r"s3:PutObject.*AccessDenied"):
        s3.check_writable(folder.bucket, folder.prefix)


@pytest.mark.parametrize("use", [list_files, lambda root: read_files([f"{root}/1.jpg"], 4)])
@pytest.mark.parametrize("name", ["no-such-bucket", "No bucket's name", ""])
def test_no_such_bucket(sign_in, name, use):
    with pytest.raises(InputError, match=f"There is no bucket {name}.*FRUITS_BUCKET"):
        list(use(f"s3://{name}/fruits"))


@pytest.mark.parametrize("use", [list_files, lambda root: read_files([f"{root}/1.jpg"], 4)])
def test_no_credentials_at_all(folder, monkeypatch, use):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match=r"No AWS credentials were found.*aws sso login"):
        list(use(folder.root))


# ---- in Spark --------------------------------------------------------------------------------------------------------


def test_spark_workers_read(s3_server, folder, proxy, spark):
    """Each of Spark's forked worker processes has clients of its own."""
    contents = numbered(folder, 40)
    root, environment = folder.root, s3_server.environment(endpoint=proxy.endpoint)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        os.environ.update(environment)
        paths = [f"{root}/{number}.jpg" for batch in batches for number in batch["id"].to_pylist()]
        for file in read_files(paths, 4):
            yield pa.record_batch({"pid": [os.getpid()], "path": [file.path], "content": [file.content]})

    rows = spark.range(0, 40, numPartitions=4).mapInArrow(read, "pid long, path string, content binary").collect()
    assert {row.path: bytes(row.content) for row in rows} == contents
    assert os.getpid() not in {row.pid for row in rows}
    assert len(proxy.reads) == 40
