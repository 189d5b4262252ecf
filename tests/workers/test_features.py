"""Features come from the files in which they are, row by row, whatever the order; lost files are named."""

from urllib.parse import quote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruits_pipeline.errors import InputError
from fruits_pipeline.s3 import UnreadableObjectError
from fruits_pipeline.storage import local_path
from fruits_pipeline.workers import features
from fruits_pipeline.workers.features import FeatureFile, WithFeatures

N_ROWS = {"a b.parquet": 10, "é#%20.parquet": 7, "one.parquet": 1}
ODD_ROW = 4
"""In each file a row without features, which nobody asks for."""


def value_of(name: str, row: int) -> float:
    return 100.0 * list(N_ROWS).index(name) + row


def parquet_of(name: str) -> pa.Table:
    rows = [None if row == ODD_ROW else [value_of(name, row), 0.5] for row in range(N_ROWS[name])]
    return pa.table({"other": ["x"] * len(rows), "features": pa.array(rows, pa.list_(pa.float32()))})


@pytest.fixture(scope="module", params=["file://", "memory://"])
def folder(request, tmp_path_factory):
    """Files of several row groups, on the disk and where only a client reaches them."""
    address = {"file://": f"file://{tmp_path_factory.mktemp('features')}", "memory://": "memory://bucket/table"}
    for name in N_ROWS:
        with fsspec.open(f"{address[request.param]}/{name}", "wb") as file:
            pq.write_table(parquet_of(name), file, row_group_size=3)
    yield address[request.param]
    fsspec.filesystem("memory").store.clear()


def batch_of(folder: str, places: list[tuple[str, int]]) -> pa.RecordBatch:
    columns = {
        "path": [f"{name}/{row}" for name, row in places],
        "file_path": [quote(f"{folder}/{name}", safe=":/é") for name, _ in places],  # as Spark writes it
        "row_index": pa.array([row for _, row in places], pa.int64()),
    }
    types = {"path": pa.string(), "file_path": pa.string(), "row_index": pa.int64()}
    return pa.RecordBatch.from_pydict(columns, pa.schema(types))


PLACES = [(name, row) for name, n in N_ROWS.items() for row in range(n) if row != ODD_ROW]


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(PLACES), max_size=12), max_size=4))
def test_every_row_gets_its_own_features(folder, batches):
    """In any order, also twice, in batches that may be empty."""
    found = list(WithFeatures(iter)(batch_of(folder, batch) for batch in batches))
    assert [name for batch in found for name in batch.schema.names] == ["path", "features"] * len(found)
    rows = [(row["path"], row["features"]) for batch in found for row in batch.to_pylist()]
    assert rows == [(f"{name}/{row}", [value_of(name, row), 0.5]) for batch in batches for name, row in batch]


def test_the_function_gets_views_of_a_larger_batch(folder):
    places = batch_of(folder, PLACES)
    (found,) = WithFeatures(iter)([places.slice(3, 9)])
    assert [row[0] for row in found["features"].to_pylist()] == [value_of(*place) for place in PLACES[3:12]]


def test_a_file_is_read_once_for_its_neighbouring_rows(folder, monkeypatch):
    read, groups = [], []
    read_bytes, read_row_group = features.read_bytes, pq.ParquetFile.read_row_group
    monkeypatch.setattr(features, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **more: groups.append(i) or read_row_group(self, i, **more)
    )
    for _ in WithFeatures(iter)(batch_of(folder, PLACES[i : i + 2]) for i in range(0, len(PLACES), 2)):
        pass
    assert read == [f"{folder}/{name}" for name in N_ROWS]
    assert groups == [0, 1, 2, 3, 0, 1, 2, 0]


# ---- what cannot be read ---------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_named(folder):
    with pytest.raises(InputError, match=r"gone\.parquet cannot be read: .*kedro run"):
        list(WithFeatures(iter)([batch_of(folder, [("gone.parquet", 0)])]))


def test_an_object_out_of_reach_is_named(monkeypatch):
    def refuse(path):
        raise UnreadableObjectError("InvalidObjectState: archived")

    monkeypatch.setattr(features, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"s3a://bucket/x\.parquet cannot be read: InvalidObjectState: archived"):
        FeatureFile("s3a://bucket/x.parquet")


def test_a_fault_that_may_pass_is_for_spark_to_repeat(monkeypatch):
    def time_out(path):
        raise TimeoutError("S3 does not answer")

    monkeypatch.setattr(features, "read_bytes", time_out)
    with pytest.raises(TimeoutError):
        FeatureFile("s3a://bucket/x.parquet")


@pytest.mark.parametrize("damage", ["no Parquet", "cut off", "empty", "pages"])
def test_a_damaged_file_is_named_on_one_line(tmp_path, damage):
    path = tmp_path / "part.parquet"
    vectors = np.random.default_rng(0).random((8, 1280), dtype=np.float32)
    pq.write_table(pa.table({"features": list(vectors)}), path, compression="zstd", write_page_checksum=True)
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "no Parquet": b"x" * 1000,
        "cut off": content[:middle],
        "empty": b"",
        "pages": content[:100] + bytes(middle) + content[100 + middle :],
    }
    local_path(f"file://{path}").write_bytes(damaged[damage])
    with pytest.raises(InputError, match=r"\AThe features in file:///[^\n]*part\.parquet cannot be read: [^\n]+\Z"):
        list(FeatureFile(f"file://{path}").take(np.arange(8)))
