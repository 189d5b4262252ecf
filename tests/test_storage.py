"""Reading files: in order, nothing lost, whatever their names; and which faults are the image's."""

import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruits_pipeline import storage
from fruits_pipeline.errors import InputError
from fruits_pipeline.s3 import UnreadableObjectError
from fruits_pipeline.storage import ImageFile, local_path, publish, read_file, read_files, unfinished_file

ODD_NAMES = [
    "plain.jpg",
    "a blank.jpg",
    " leading and trailing .jpg ",
    "é à ü ñ 果物.jpg",
    "e\u0301 combining.jpg",
    "a#b.jpg",
    "a%20b.jpg",
    "100%.jpg",
    "a::b.jpg",
    "a?b.jpg",
    "a?versionId=1.jpg",
    "a[x].jpg",
    "a*b.jpg",
    "{a,b}.jpg",
    "a+b&c=d.jpg",
    "a'b\"c.jpg",
    "a\\b.jpg",
    "~.jpg",
    "$HOME.jpg",
    "🍎.jpg",
    "new\nline.jpg",
    "a:b.jpg",
    "file:.jpg",
]
READ_AHEAD = [0, 1, 16]


@pytest.fixture(params=["local path", "file:", "file://", "memory://"])
def folder(request, tmp_path):
    """A folder by each of the ways in which it can be named, and a function that writes a file there."""

    def write_locally(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)

    def write_remotely(name: str, content: bytes) -> None:
        fsspec.filesystem("memory").pipe_file(f"bucket/odd [folder] #1/{name}", content)

    if request.param == "memory://":
        yield "memory://bucket/odd [folder] #1", write_remotely
        fsspec.filesystem("memory").store.clear()
    else:
        yield request.param.replace("local path", "") + str(tmp_path), write_locally


@pytest.mark.parametrize("read_ahead", READ_AHEAD)
def test_every_file_is_read_in_order(folder, read_ahead):
    root, write = folder
    for i in range(50):
        write(f"{i}.jpg", b"content of %d" % i)
    order = [*range(49, -1, -1), 7, 7]  # not as listed, and one file twice
    files = list(read_files((f"{root}/{i}.jpg" for i in order), read_ahead))
    assert files == [ImageFile(f"{root}/{i}.jpg", b"content of %d" % i) for i in order]


@pytest.mark.parametrize("read_ahead", READ_AHEAD)
def test_odd_names_are_taken_literally(folder, read_ahead):
    root, write = folder
    for name in ODD_NAMES:
        write(name, name.encode())
    files = list(read_files([f"{root}/{name}" for name in ODD_NAMES], read_ahead))
    assert [file.content.decode() for file in files] == ODD_NAMES
    assert [file.problem for file in files] == [None] * len(ODD_NAMES)


@pytest.mark.parametrize("read_ahead", READ_AHEAD)
def test_what_is_gone_has_vanished_and_its_neighbours_have_not(folder, read_ahead):
    root, write = folder
    write("0.jpg", b"0")
    write("2.jpg", b"2")
    before, gone, after = read_files([f"{root}/{i}.jpg" for i in range(3)], read_ahead)
    assert (before.content, after.content) == (b"0", b"2")
    assert before.problem is after.problem is None
    assert gone.path == f"{root}/1.jpg"
    assert gone.content == b""
    assert gone.problem.reason == "vanished"
    assert "1.jpg" in gone.problem.detail


@pytest.mark.parametrize("read_ahead", READ_AHEAD)
def test_no_paths_no_files(read_ahead):
    assert list(read_files([], read_ahead)) == []


def test_an_empty_file_is_read(folder):
    root, write = folder
    write("empty.jpg", b"")
    assert read_file(f"{root}/empty.jpg") == ImageFile(f"{root}/empty.jpg", b"", None)


def test_a_forbidden_local_file_is_unreadable(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "b.jpg").write_bytes(b"b")
    read_bytes = Path.read_bytes

    def forbidden(path: Path) -> bytes:  # root, who runs tests in containers, may read everything
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    first, second = read_files([f"file:{tmp_path}/a.jpg", f"file:{tmp_path}/b.jpg"], 0)
    assert first.problem.reason == "unreadable"
    assert "Permission denied" in first.problem.detail
    assert second.content == b"b"


def test_what_became_of_a_path_since_it_was_listed(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "file").touch()
    expected = {
        "folder.jpg": "unreadable",
        "loop.jpg": "unreadable",
        "broken link.jpg": "vanished",
        "file/1.jpg": "vanished",
        f"{'x' * 300}.jpg": "unreadable",
    }
    (tmp_path / "broken link.jpg").symlink_to(tmp_path / "nothing")
    files = read_files([f"file:{tmp_path}/{name}" for name in expected], 0)
    assert [file.problem.reason for file in files] == list(expected.values())


@pytest.mark.parametrize("read_ahead", READ_AHEAD)
@pytest.mark.parametrize("error", [OSError("SlowDown"), InputError("AccessDenied")])
def test_what_is_no_fault_of_the_image_fails_the_task(monkeypatch, read_ahead, error):
    def read_object(bucket: str, key: str) -> bytes:
        if key == "3.jpg":
            raise error
        return key.encode()

    monkeypatch.setattr(storage.s3, "read_object", read_object)
    files = read_files((f"s3a://bucket/{i}.jpg" for i in range(20)), read_ahead)
    assert [next(files).content for _ in range(3)] == [b"0.jpg", b"1.jpg", b"2.jpg"]
    with pytest.raises(type(error), match=str(error)):
        next(files)


def test_an_object_out_of_reach_is_unreadable(monkeypatch):
    def read_object(bucket: str, key: str) -> bytes:
        raise UnreadableObjectError("InvalidObjectState")

    monkeypatch.setattr(storage.s3, "read_object", read_object)
    (file,) = read_files(["s3://bucket/1.jpg"], 4)
    assert file.problem.reason == "unreadable"
    assert "InvalidObjectState" in file.problem.detail


def test_a_passing_fault_of_the_disk_fails_the_task(tmp_path, monkeypatch):
    def broken(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(OSError, match="Input/output error"):
        list(read_files([f"file:{tmp_path}/a.jpg"], 0))


@pytest.mark.parametrize("scheme", ["s3", "s3a", "s3n"])
def test_all_names_of_s3_are_one(monkeypatch, scheme):
    monkeypatch.setattr(storage.s3, "read_object", lambda bucket, key: f"{bucket} {key}".encode())
    assert read_file(f"{scheme}://bucket/a b/c#d.jpg").content == b"bucket a b/c#d.jpg"


class Counting:
    """Counts the reads that have begun."""

    def __init__(self) -> None:
        self.begun = 0

    def cat_file(self, path: str) -> bytes:
        self.begun += 1
        return path.encode()


@pytest.mark.parametrize("read_ahead", READ_AHEAD)
def test_no_more_is_read_ahead_than_asked(monkeypatch, read_ahead):
    store, taken = Counting(), 0
    monkeypatch.setattr(storage, "_filesystem", lambda protocol: store)
    for file in read_files((f"memory://bucket/{i}" for i in range(60)), read_ahead):
        taken += 1
        assert file.content == b"bucket/%d" % (taken - 1)
        assert store.begun <= taken + read_ahead
    assert taken == store.begun == 60


def test_local_files_are_read_ahead_one_at_a_time(tmp_path, monkeypatch):
    """While the consumer works, the next files come from the disk; so nobody waits for a slow one."""
    at_work, begun, together = threading.Semaphore(0), [], []
    lock = threading.Lock()

    def read_bytes(path: Path) -> bytes:
        together.append(lock.acquire(blocking=False))
        begun.append(path.name)
        at_work.release()
        lock.release()
        return path.name.encode()

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    files = read_files([f"file:{tmp_path}/{i}.jpg" for i in range(9)], 4)
    assert next(files).content == b"0.jpg"
    for _ in range(5):  # the one that was asked for, and four more that were not
        assert at_work.acquire(timeout=30)
    assert begun == [f"{i}.jpg" for i in range(5)]
    assert [file.content for file in files] == [b"%d.jpg" % i for i in range(1, 9)]
    assert all(together), "two reads at once"


def test_a_consumer_that_stops_early_stops_the_reading(monkeypatch):
    store = Counting()
    monkeypatch.setattr(storage, "_filesystem", lambda protocol: store)
    files = read_files((f"memory://bucket/{i}" for i in range(1000)), 4)
    next(files)
    files.close()
    assert store.begun <= 6


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
    ),
    read_ahead=st.integers(0, 5),
)
def test_any_name_in_a_remote_store(names, read_ahead):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for name in names:
        memory.pipe_file(f"bucket/fruit/x{name}.jpg", name.encode())
    files = list(read_files([f"memory://bucket/fruit/x{name}.jpg" for name in names], read_ahead))
    assert [file.content.decode() for file in files] == names
    memory.store.clear()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a b/c.jpg", "/a b/c.jpg"),
        ("data/c.jpg", "data/c.jpg"),
        ("file:/a%20b/c.jpg", "/a%20b/c.jpg"),
        ("file:///a/c.jpg", "/a/c.jpg"),
        ("file:/file:/c.jpg", "/file:/c.jpg"),
    ],
)
def test_local_paths_are_not_decoded(path, expected):
    assert local_path(path) == Path(expected)


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_appears_whole_under_its_name(folder, name):
    root, _ = folder
    target = f"{root}/new {name}/{name}"
    for content in (b"old", b"new and longer"):
        with unfinished_file(target) as path:
            path.write_bytes(content)
            assert read_file(target).content != content
            publish(path, target)
        assert read_file(target).content == content
        assert not path.exists()


def half_written(target: str) -> Path:
    """Where a writer wrote that failed before it was done."""
    seen = []
    with suppress(ValueError), unfinished_file(target) as path:
        path.write_bytes(b"half")
        seen.append(path)
        raise ValueError
    return seen[0]


def test_an_unfinished_file_is_hidden_and_goes_when_its_writer_fails(tmp_path):
    path = half_written(f"file://{tmp_path}/table/x.parquet")
    assert path.parent == tmp_path / "table"
    assert path.name.startswith(".x.parquet")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("in_spark", [False, True])
def test_an_unfinished_file_for_a_bucket_is_a_temporary_one(tmp_path, monkeypatch, in_spark):
    """Spark's workers have a place for it."""
    if in_spark:
        monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path},/no/such/folder")
    else:
        monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = half_written("s3a://bucket/table/x.parquet")
    assert tmp_path in path.parents
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """As a task that Spark repeats while its first attempt still lives."""
    target = str(tmp_path / "x.parquet")
    with unfinished_file(target) as first, unfinished_file(target) as second:
        first.write_bytes(b"1")
        second.write_bytes(b"2")
        publish(second, target)
        assert (tmp_path / "x.parquet").read_bytes() == b"2"
        publish(first, target)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]
