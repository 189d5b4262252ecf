"""Every file is listed: empty ones, odd names, links."""

import os
from datetime import UTC, datetime

import fsspec
import pytest

from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import PAGE, list_files

NAMES = ["a b/é.jpg", "_under/x.png", "a[1]/{b},c.JPG", "p%20q/#1.jpg", "deep/er/still/z.jpeg", "top.jpg", "n\nl/x.jpg"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "root é" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "root é"


def flat(root):
    return {file.path: file for page in list_files(str(root)) for file in page}


def test_lists_every_name(folder):
    assert set(flat(folder)) == {f"file:{folder / name}" for name in NAMES}
    assert not any(file.hidden for file in flat(folder).values())


def test_empty_files_are_files(folder):
    (folder / "empty.jpg").touch()
    assert flat(folder)[f"file:{folder / 'empty.jpg'}"].length == 0


def test_length_and_time_are_exact(folder):
    os.utime(folder / "top.jpg", ns=(0, 1_700_000_000_123_456_789))
    file = flat(folder)[f"file:{folder / 'top.jpg'}"]
    assert file.length == 5
    assert file.modification_time == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)


def test_hidden_is_said_not_skipped(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.jpg").touch()
    (folder / "a b" / "._mac.jpg").touch()
    hidden = {path for path, file in flat(folder).items() if file.hidden}
    assert hidden == {f"file:{folder / '.hidden/x.jpg'}", f"file:{folder / 'a b/._mac.jpg'}"}


def test_a_hidden_root_hides_nothing(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.jpg").touch()
    assert [file.hidden for file in flat(tmp_path / ".cache").values()] == [False]


def test_links(folder):
    (folder / "loop").symlink_to(folder)
    (folder / "broken.jpg").symlink_to(folder / "gone.jpg")
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    (folder / "link.jpg").symlink_to(folder / "top.jpg")
    found = flat(folder)
    assert len(found) == len(NAMES) + 3
    assert found[f"file:{folder / 'link.jpg'}"].length == 5
    assert found[f"file:{folder / 'broken.jpg'}"].length == 0
    assert found[f"file:{folder / 'self.jpg'}"].length == 0


def test_pipes_are_no_files(folder):
    os.mkfifo(folder / "pipe.jpg")
    assert f"file:{folder / 'pipe.jpg'}" not in flat(folder)


def test_pages_are_bounded_and_lose_nothing(tmp_path):
    for number in range(2 * PAGE + 1):
        (tmp_path / f"{number}.jpg").touch()
    pages = list(list_files(str(tmp_path)))
    assert [len(page) for page in pages] == [PAGE, PAGE, 1]
    assert len({file.path for page in pages for file in page}) == 2 * PAGE + 1


def test_an_unreadable_folder_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        list(list_files(str(tmp_path)))


def test_other_storages_through_fsspec():
    memory = fsspec.filesystem("memory")
    for name in ("/bucket é/Apple/1.jpg", "/bucket é/.x/2.jpg"):
        memory.pipe(name, b"123")
    found = flat("memory://bucket é")
    assert set(found) == {"memory://bucket é/Apple/1.jpg", "memory://bucket é/.x/2.jpg"}
    assert {file.hidden for file in found.values()} == {True, False}
    assert all(file.length == 3 for file in found.values())


def test_a_name_that_is_no_utf8_may_not_look_like_another(tmp_path):
    """Read by the name in the table, both would be the same file."""
    odd = os.fsencode(tmp_path) + b"/a\xff.jpg"
    with open(odd, "wb"):
        pass
    assert [file.path for page in list_files(str(tmp_path)) for file in page] == [f"file:{tmp_path}/a?.jpg"]
    (tmp_path / "a?.jpg").touch()
    with pytest.raises(InputError, match=r"beside .*/a\?\.jpg is no UTF-8.*Rename it: .* shows b'a\\xff\.jpg'"):
        list(list_files(str(tmp_path)))
