"""Which folders count, and that those which were replaced go when their time has come and never come back."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from kedro.io import DatasetError

from fruits_pipeline.datasets.committed_folders import CommittedFolders
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers.summaries import Summary, summary_of
from fruits_pipeline.workers.writing import MappedRows

DAY = timedelta(hours=24)


def folders(root: Path) -> CommittedFolders:
    return CommittedFolders(str(root), "batch")


def write(root: Path, *names: str, mark: str | None = "") -> None:
    """Folders as Spark writes them; without a mark as a dead run leaves them."""
    for name in names:
        (root / f"batch={name}").mkdir(parents=True)
        (root / f"batch={name}" / "part-0.parquet").write_text(name)
        if mark is not None:
            (root / f"batch={name}" / "_SUCCESS").write_text(mark)


def replace(root: Path, name: str, hours_ago: float = 0) -> None:
    """A folder that takes the place of all that count, committed some hours ago."""
    write(root, name, mark=None)
    folders(root).commit(f"batch={name}", folders(root).committed())
    success = root / f"batch={name}" / "_SUCCESS"
    when = datetime.now(UTC) - timedelta(hours=hours_ago)
    success.write_text(json.dumps({**json.loads(success.read_text()), "committed_at": when.isoformat()}))


def counted(root: Path) -> str:
    return "".join(name.removeprefix("batch=") for name in folders(root).committed())


def there(root: Path) -> str:
    return "".join(sorted(path.name.removeprefix("batch=") for path in root.iterdir()))


def test_what_is_committed_counts_oldest_first(tmp_path):
    assert folders(tmp_path / "nothing").committed() == []
    write(tmp_path, "2", "1")
    write(tmp_path, "3", mark=None)
    assert folders(tmp_path).committed() == ["batch=1", "batch=2"]


def test_a_replacement_ends_all_before_it_and_none_after_it(tmp_path):
    write(tmp_path, "1", "2")
    replace(tmp_path, "3")
    assert counted(tmp_path) == "3"
    write(tmp_path, "4")
    assert counted(tmp_path) == "34"
    replace(tmp_path, "5")
    assert counted(tmp_path) == "5"
    assert there(tmp_path) == "12345"


@pytest.mark.parametrize(("hours_ago", "kept"), [(0, "123"), (23.9, "123"), (24.1, "3"), (1000, "3")])
def test_replaced_folders_stay_for_the_time_of_grace(tmp_path, hours_ago, kept):
    write(tmp_path, "1", "2")
    replace(tmp_path, "3", hours_ago)
    gone = folders(tmp_path).remove_replaced(DAY)
    assert there(tmp_path) == kept
    assert gone == [f"batch={name}" for name in "123" if name not in kept]
    assert counted(tmp_path) == "3"


def test_without_grace_they_go_at_once_and_only_once(tmp_path):
    write(tmp_path, "1", "2")
    replace(tmp_path, "3")
    assert folders(tmp_path).remove_replaced(timedelta(0)) == ["batch=1", "batch=2"]
    assert folders(tmp_path).remove_replaced(timedelta(0)) == []
    assert there(tmp_path) == "3"


@pytest.mark.parametrize("ages", list(itertools.product([0, 25], repeat=3)), ids=str)
def test_what_was_replaced_never_comes_back(tmp_path, ages):
    """Of three replacements one after the other, whatever the clocks say of their age."""
    write(tmp_path, "1", "2")
    replace(tmp_path, "3", ages[0])
    write(tmp_path, "4")
    replace(tmp_path, "5", ages[1])
    replace(tmp_path, "6", ages[2])
    write(tmp_path, "7")
    for grace in (DAY, DAY, timedelta(0)):
        folders(tmp_path).remove_replaced(grace)
        assert counted(tmp_path) == "67"
    assert there(tmp_path) == "67"


def test_a_removal_brings_nothing_back_wherever_it_is_interrupted(tmp_path, monkeypatch):
    write(tmp_path, "1", "2")
    replace(tmp_path, "3")
    replace(tmp_path, "4")
    steps = []
    for name in ("rm_file", "rm"):
        remove = getattr(LocalFileSystem, name)

        def watched(self, path, *args, _remove=remove, **options):
            _remove(self, path, *args, **options)
            steps.append((Path(path).relative_to(tmp_path).as_posix(), counted(tmp_path)))

        monkeypatch.setattr(LocalFileSystem, name, watched)
    folders(tmp_path).remove_replaced(timedelta(0))
    assert steps == [
        (f"batch={name}{part}", "4") for name in "123" for part in ("/_SUCCESS", "")
    ]  # the mark goes first


def test_a_removal_that_was_interrupted_is_finished_by_the_next(tmp_path, monkeypatch):
    write(tmp_path, "1", "2")
    replace(tmp_path, "3")

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "rm", die)
        with pytest.raises(KeyboardInterrupt):
            folders(tmp_path).remove_replaced(timedelta(0))
    assert counted(tmp_path) == "3"
    folders(tmp_path).remove_dead()
    folders(tmp_path).remove_replaced(timedelta(0))
    assert there(tmp_path) == "3"


def test_a_dead_replacement_replaces_nothing_and_is_removed(tmp_path):
    write(tmp_path, "1", "2")
    write(tmp_path, "3", mark=None)
    (tmp_path / "notes").mkdir()
    assert counted(tmp_path) == "12"
    folders(tmp_path).remove_dead()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch=1", "batch=2", "notes"]


@pytest.mark.parametrize(
    "mark", ["", '{"name": "org.apache.hadoop.fs.s3a.commit"}', "no JSON {", "[1]", '"replaces"', "null", "3"]
)
def test_marks_that_others_wrote_replace_nothing(tmp_path, mark):
    """Spark's own is empty; the committers for S3 write JSON of their own; somebody may have edited it."""
    write(tmp_path, "1")
    write(tmp_path, "2", mark=mark)
    assert counted(tmp_path) == "12"
    assert folders(tmp_path).remove_replaced(timedelta(0)) == []


def test_only_later_names_are_new(tmp_path):
    folders(tmp_path).check_new("batch=1")
    write(tmp_path, "1", "2")
    write(tmp_path, "4", mark=None)  # dead: it may be written again, and so may earlier ones
    for name in ("3", "4", "5"):
        folders(tmp_path).check_new(f"batch={name}")
    with pytest.raises(DatasetError, match="batch=2 is already committed"):
        folders(tmp_path).check_new("batch=2")
    with pytest.raises(DatasetError, match="holds batch=2, which is later than this run, batch=1"):
        folders(tmp_path).check_new("batch=1")


def test_a_replaced_folder_is_not_new(tmp_path):
    """Its rows stand in the replacement."""
    write(tmp_path, "1", "2")
    replace(tmp_path, "3")
    with pytest.raises(DatasetError, match="later than this run"):
        folders(tmp_path).check_new("batch=2")


def test_removing_what_is_gone_is_no_error(tmp_path):
    write(tmp_path, "1")
    for _ in range(2):
        folders(tmp_path).remove("batch=1")
    assert there(tmp_path) == ""


# ---- what the workers write ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows(MappedRows):
    """Rows whose writing is only told of."""

    files: tuple[str, ...] = ()

    def write(self, folder: str, options: Mapping[str, Any]) -> dict[str, Summary]:
        return {name: {"rows": n} for n, name in enumerate(self.files, 5)}


def test_what_killed_workers_left_unfinished_is_removed(tmp_path):
    write(tmp_path, "1", mark=None)
    folder = tmp_path / "batch=1"
    for name in (".part-0.parquet.0123.tmp", "part-7.parquet"):
        (folder / name).write_text("left")
    rows = Rows(None, iter, "labeled_images", files=("part-0.parquet",))
    assert folders(tmp_path).write("batch=1", rows, "labeled_images", {}) == {"rows": 5}
    assert [path.name for path in folder.iterdir()] == ["part-0.parquet"]
    assert counted(tmp_path) == ""  # that takes a commit


def test_files_that_only_the_workers_can_see_are_missed(tmp_path):
    """As on a cluster without a common disk."""
    write(tmp_path, "1", mark=None)
    files = ("part-0.parquet", "part-1.parquet", "part-2.parquet")
    with pytest.raises(DatasetError, match=r"2 of 3 files are not in .*batch=1, for example part-1\.parquet: .* disk"):
        folders(tmp_path).write("batch=1", Rows(None, iter, "labeled_images", files=files), "labeled_images", {})
    with pytest.raises(DatasetError, match=r"3 of 3 files are not in .*batch=2"):
        folders(tmp_path).write("batch=2", Rows(None, iter, "labeled_images", files=files), "labeled_images", {})


def test_no_rows_no_files(tmp_path):
    assert folders(tmp_path).write("batch=1", Rows(None, iter, "labeled_images"), "labeled_images", {}) == {"rows": 0}
    folders(tmp_path).commit("batch=1", [])
    assert counted(tmp_path) == "1"


# ---- what is known of a folder ---------------------------------------------------------------------------------------

INDEX = arrow_schema("image_index")


def index_of(*paths: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"path": path} for path in paths], INDEX)


def write_index(root: Path, name: str, *parts: pa.RecordBatch) -> None:
    """A folder with a file for each part, which does not count yet."""
    (root / f"batch={name}").mkdir(parents=True)
    for number, part in enumerate(parts):
        pq.write_table(pa.Table.from_batches([part]), root / f"batch={name}" / f"part-{number}.parquet")


def test_what_is_written_is_summed_over_its_files(tmp_path):
    write(tmp_path, "1", mark=None)
    names = ("part-0.parquet", "part-1.parquet", "part-2.parquet")
    for name in names:
        (tmp_path / "batch=1" / name).touch()
    rows = Rows(None, iter, "image_index", files=names)
    assert folders(tmp_path).write("batch=1", rows, "image_index", {}) == {"rows": 5 + 6 + 7, "paths": 0}


def test_what_was_written_is_known_without_its_files(tmp_path):
    """They are no Parquet here."""
    write(tmp_path, "1", "2", mark=None)
    folders(tmp_path).commit("batch=1", [], {"rows": 3, "paths": 2**70 + 1})
    folders(tmp_path).commit("batch=2", ["batch=1"], {"rows": 0, "paths": 0})
    assert folders(tmp_path).summary(["batch=1"], "image_index") == {"rows": 3, "paths": 2**70 + 1}
    assert folders(tmp_path).summary(["batch=2"], "image_index") == {"rows": 0, "paths": 0}
    assert counted(tmp_path) == "2"


@pytest.mark.parametrize("mark", ["", "no JSON {", '{"replaces": [], "committed_at": "2026-11-21T12:00:00+00:00"}'])
def test_what_others_wrote_is_counted(tmp_path, mark):
    write_index(tmp_path, "1", index_of("a", "é"), index_of(), index_of("c"))
    (tmp_path / "batch=1" / "_SUCCESS").write_text(mark)
    (tmp_path / "batch=1" / ".part-0.parquet.crc").write_text("of Hadoop")
    assert folders(tmp_path).summary(["batch=1"], "image_index") == summary_of("image_index", index_of("a", "é", "c"))


def test_without_a_summary_the_files_are_counted(tmp_path):
    write_index(tmp_path, "1", index_of("a", "b"))
    folders(tmp_path).commit("batch=1", [])
    assert folders(tmp_path).summary(["batch=1"], "image_index") == summary_of("image_index", index_of("a", "b"))


def test_a_folder_without_files_has_no_rows(tmp_path):
    write_index(tmp_path, "1")
    folders(tmp_path).commit("batch=1", [])
    assert folders(tmp_path).summary(["batch=1"], "image_index") == {"rows": 0, "paths": 0}
    assert list(folders(tmp_path).read_here(["batch=1"], "image_index").function([])) == []


def test_this_process_reads_one_folder_file_by_file_whenever_it_is_asked(tmp_path):
    write_index(tmp_path, "1", index_of("a", "b"), index_of(), index_of("c"))
    write_index(tmp_path, "2", index_of("wrong"))
    (tmp_path / "batch=1" / "_SUCCESS").write_text("{}")
    rows = folders(tmp_path).read_here(["batch=1"], "image_index")
    assert rows.source is None
    for _ in range(2):
        batches = list(rows.function([]))
        assert [batch["path"].to_pylist() for batch in batches if len(batch)] == [["a", "b"], ["c"]]
        assert {batch.schema for batch in batches} == {INDEX}
