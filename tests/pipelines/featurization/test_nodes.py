"""Only new images are done, every image is accounted for, and only current features are used."""

import dataclasses
import io
import json
import math
import os
import re
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fruits_pipeline.contracts import TableContract
from fruits_pipeline.datasets import CommittedBatchesDataset
from fruits_pipeline.datasets.encoders import ExportedEncoder
from fruits_pipeline.encoders.card import IMAGES_PER_CALL, Encoder, EncoderCard, EncoderWeights
from fruits_pipeline.errors import ContractError, InputError
from fruits_pipeline.images import PREPROCESSING, decode, judged_by
from fruits_pipeline.parameters import EncoderParameters, FeaturizationParameters
from fruits_pipeline.pipelines.featurization.nodes import (
    PendingImages,
    account_for_images,
    choose_encoder,
    count_images,
    count_tasks,
    digest_of,
    featurize_images,
    locate_current_features,
    select_current_features,
    select_pending,
)
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.schemas import COLUMNS, N_FEATURES, arrow_schema, struct_type
from fruits_pipeline.workers.features import WithFeatures
from fruits_pipeline.workers.summaries import Summary, add_up, summary_of

WHEN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
LATER = WHEN + timedelta(microseconds=1)
CARD = EncoderCard("MobileNetV2", 0.35, "onnx", "random:1", "1" * 64)
OTHER = EncoderCard("MobileNetV2", 0.35, "onnx", "random:2", "2" * 64)
ENCODER, OTHER_ENCODER = Encoder(CARD, b""), Encoder(OTHER, b"")
OLD_RUN, OLDER_RUN, THIS_RUN = "2026-11-20T00.00.00.000Z", "2026-11-19T00.00.00.000Z", "2026-11-21T00.00.00.000Z"
RUN = RunRecord(run_id=THIS_RUN)


def parameters(**changes) -> FeaturizationParameters:
    values = {"batch_size": 2, "images_per_task": 8, "read_ahead": 2, "max_pixels": 10_000}
    return FeaturizationParameters(**{**values, "max_quarantined": 0.01, "refresh": False, **changes})


def labeled(path: str, length: int = 10, when: datetime = WHEN) -> dict:
    return {"path": path, "length": length, "modification_time": when, "label": "Apple"}


def featurized(path: str, value: float | None = 1.0, **changes) -> dict:
    """A row with the feature `value` 1280 times, or for None one in quarantine."""
    row = {
        **labeled(path),
        "sha256": "0" * 64,
        "width": 1,
        "height": 1,
        "mode": "RGB",
        "features": None if value is None else [value] * N_FEATURES,
        "reason": "empty" if value is None else None,
        "detail": "0 bytes" if value is None else None,
        "judged_by": judged_by(10_000),
        "encoder": CARD.fingerprint,
        "run_id": OLD_RUN,
    }
    return {**row, **changes}


def table(spark, name: str, rows: list[dict]):
    return spark.createDataFrame([tuple(row[column] for column in COLUMNS[name]) for row in rows], struct_type(name))


def summary(name: str, rows: list[dict]) -> Summary:
    """Of a table of these rows."""
    schema = arrow_schema(name)
    batch = pa.RecordBatch.from_pylist([{column: row[column] for column in schema.names} for row in rows], schema)
    return add_up(name, [summary_of(name, batch)])


def paths(frame) -> list[str]:
    return sorted(row["path"] for row in frame.select("path").collect())


def select(spark, listed: list[dict], committed: list[dict], **changes) -> PendingImages:
    return select_pending(
        table(spark, "labeled_images", listed),
        summary("image_index", listed),
        table(spark, "featurized_images", committed),
        summary("featurized_images", committed),
        ENCODER,
        parameters(**changes),
    )


def pending_paths(spark, listed: list[dict], committed: list[dict], **changes) -> list[str]:
    """… and that their number is right, where it is known."""
    pending = select(spark, listed, committed, **changes)
    found = paths(pending.rows)
    assert pending.n_images in (None, len(found))
    return found


# ---- which images are pending ----------------------------------------------------------------------------------------

LISTED = [
    labeled("new"),
    labeled("done"),
    labeled("in quarantine"),
    labeled("longer", length=11),
    labeled("later", when=LATER),
    labeled("by another encoder"),
    labeled("by both"),
]
COMMITTED = [
    featurized("done"),
    featurized("in quarantine", None),
    featurized("longer"),
    featurized("later"),
    featurized("by another encoder", encoder=OTHER.fingerprint),
    featurized("by both", encoder=OTHER.fingerprint),
    featurized("by both"),
    featurized("removed"),
]


def test_pending_are_new_replaced_and_those_of_other_encoders(spark):
    pending = select(spark, LISTED, COMMITTED)
    assert paths(pending.rows) == ["by another encoder", "later", "longer", "new"]
    assert pending.rows.columns == [*COLUMNS["labeled_images"]]
    assert {row["path"]: row.asDict() for row in pending.rows.collect()}["longer"]["length"] == 11
    assert pending.n_images is None


def test_refresh_takes_all(spark):
    pending = select(spark, LISTED, COMMITTED, refresh=True)
    assert paths(pending.rows) == sorted(row["path"] for row in LISTED)
    assert pending.n_images == len(LISTED)


@pytest.mark.parametrize("by_others", [0, 3])
def test_the_first_run_of_an_encoder_takes_all(spark, by_others):
    """… and knows how many without asking Spark."""
    rows = [featurized(row["path"], encoder=OTHER.fingerprint) for row in LISTED[:by_others]]
    pending = select(spark, LISTED, rows)
    assert paths(pending.rows) == sorted(row["path"] for row in LISTED)
    assert pending.n_images == len(LISTED)


def test_nothing_is_pending_twice(spark):
    listed = [labeled("done"), labeled("in quarantine"), labeled("by both")]
    assert pending_paths(spark, listed, COMMITTED) == []


def test_files_that_could_not_be_read_are_tried_again(spark):
    """Another permission changes neither the size nor the time of a file."""
    listed = [labeled("vanished"), labeled("unreadable"), labeled("empty")]
    committed = [featurized(r, None, reason=r) for r in ("vanished", "unreadable", "empty")]
    assert pending_paths(spark, listed, committed) == ["unreadable", "vanished"]


def test_bad_images_are_tried_again_when_the_decoder_or_the_limit_changes(spark):
    """… by what judged them, which older rows do not name; what has features stays as it is."""
    listed = [labeled(path) for path in ("same", "other", "unknown", "good", "both")]
    committed = [
        featurized("same", None),
        featurized("other", None, judged_by=judged_by(10_000).replace("pillow-", "pillow-0.")),
        featurized("unknown", None, judged_by=None),
        featurized("good", judged_by="another decoder"),
        featurized("both", None, judged_by="another decoder", run_id=OLDER_RUN),
        featurized("both", None),
    ]
    assert pending_paths(spark, listed, committed) == ["other", "unknown"]
    assert pending_paths(spark, listed, committed, max_pixels=20_000) == ["both", "other", "same", "unknown"]


def test_the_latest_row_of_an_image_decides(spark):
    """As after a refresh in which an image could not be read, though it had features before."""
    listed = [labeled(path) for path in ("lost in a refresh", "mended", "bad by now")]
    committed = [
        featurized("lost in a refresh", run_id=OLDER_RUN),
        featurized("lost in a refresh", None, reason="unreadable"),
        featurized("mended", None, reason="unreadable", run_id=OLDER_RUN),
        featurized("mended"),
        featurized("bad by now", run_id=OLDER_RUN),
        featurized("bad by now", None),
    ]
    assert pending_paths(spark, listed, committed) == ["lost in a refresh"]


# ---- the account -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounted(spark, tmp_path_factory):
    """Featurized images in files whose names need care, each of several row groups; and their status."""
    rows = [
        featurized("fresh", run_id=THIS_RUN),
        featurized("fresh but broken", None, run_id=THIS_RUN),
        featurized("old"),
        featurized("old and broken", None),
        featurized("done again", None),
        featurized("done again", run_id=THIS_RUN),
        featurized("broken at last"),
        featurized("broken at last", None, run_id=THIS_RUN),
        featurized("twice old", None, run_id=OLDER_RUN),
        featurized("twice old"),
        featurized("replaced", 2.0),
        featurized("replaced", 3.0, length=11, run_id=THIS_RUN),
        featurized("removed"),
        featurized("lost", encoder=OTHER.fingerprint),
        featurized("lost too", length=11),
        featurized("old", 4.0, encoder=OTHER.fingerprint, run_id=THIS_RUN),
    ]
    listed = [
        labeled(path) for path in dict.fromkeys(row["path"] for row in rows) if path not in ("replaced", "removed")
    ]
    listed.append(labeled("replaced", length=11))
    folder = tmp_path_factory.mktemp("some é folder #1%20")
    for name, part in (("part 1%20.parquet", rows[:7]), ("part-ü.parquet", rows[7:])):
        pq.write_table(pa.Table.from_pylist(part, arrow_schema("featurized_images")), folder / name, row_group_size=3)
    read = spark.read.schema(struct_type("featurized_images")).parquet(str(folder))
    frames = table(spark, "labeled_images", listed), read
    return read, account_for_images(*frames, summary("featurized_images", rows), ENCODER, RUN)


def test_every_listed_image_has_one_status(accounted):
    _, status = accounted
    assert dict(status.dtypes) == COLUMNS["image_status"]
    found = {row["path"]: (row["status"], row["reason"], row["run_id"]) for row in status.collect()}
    assert status.count() == len(found)
    assert found == {
        "fresh": ("featurised", None, THIS_RUN),
        "fresh but broken": ("quarantined", "empty", THIS_RUN),
        "old": ("unchanged", None, OLD_RUN),
        "old and broken": ("unchanged", "empty", OLD_RUN),
        "done again": ("featurised", None, THIS_RUN),
        "broken at last": ("quarantined", "empty", THIS_RUN),
        "twice old": ("unchanged", None, OLD_RUN),
        "replaced": ("featurised", None, THIS_RUN),
        "lost": ("lost", None, None),
        "lost too": ("lost", None, None),
    }


def test_the_account_of_a_first_run_is_the_same(spark):
    """Whose rows need not be compared with older ones of the same images: with any summary the status is the same."""
    rows = [
        featurized("good", run_id=THIS_RUN),
        featurized("bad", None, run_id=THIS_RUN),
        featurized("good", 2.0, encoder=OTHER.fingerprint),
        featurized("replaced meanwhile", length=9, run_id=THIS_RUN),
    ]
    listed = [labeled("good"), labeled("bad"), labeled("replaced meanwhile")]
    frames = table(spark, "labeled_images", listed), table(spark, "featurized_images", rows)
    first, other = (
        account_for_images(*frames, known, ENCODER, RUN) for known in (summary("featurized_images", rows), {})
    )
    assert "max(" in other._jdf.queryExecution().toString()
    assert "max(" not in first._jdf.queryExecution().toString()
    assert dict(first.dtypes) == COLUMNS["image_status"]
    assert sorted(first.collect()) == sorted(other.collect())
    assert {row["path"]: row["status"] for row in first.collect()} == {
        "good": "featurised",
        "bad": "quarantined",
        "replaced meanwhile": "lost",
    }


def test_a_lost_image_is_refused(accounted):
    _, status = accounted
    with pytest.raises(Exception, match="table image_status, column status: not true that status is known: lost"):
        TableContract("image_status").validate(status).to_dataframe().collect()
    rows = [row.asDict() for row in status.collect()]
    index = summary("image_index", rows)
    with pytest.raises(ContractError, match=r"Images listed: 10, accounted for: 8 "):
        count_images(index, summary("image_status", rows))


def test_only_current_features_are_used(accounted):
    """Not those of removed images, of files before they were replaced, of earlier runs, of other encoders."""
    rows, status = accounted
    found = {row["path"]: row["features"][0] for row in select_current_features(rows, status).collect()}
    assert select_current_features(rows, status).count() == len(found)
    assert found == {"fresh": 1.0, "old": 1.0, "done again": 1.0, "twice old": 1.0, "replaced": 3.0}


def test_workers_find_the_same_features_in_the_files(accounted):
    rows, status = accounted
    selected = select_current_features(rows, status)
    for partitions in (1, 5):
        places = locate_current_features(rows, status).repartition(partitions)
        found = places.mapInArrow(WithFeatures(iter), selected.schema)
        assert sorted(found.collect()) == sorted(selected.collect())


def test_the_label_of_a_feature_is_that_of_now(spark):
    """Another `folder_level` relabels all images without featurising any."""
    before = [featurized("a", label="before")]
    rows = table(spark, "featurized_images", before)
    known = summary("featurized_images", before)
    status = account_for_images(table(spark, "labeled_images", [labeled("a")]), rows, known, ENCODER, RUN)
    (row,) = select_current_features(rows, status).collect()
    assert row["label"] == "Apple"
    assert (row["sha256"], row["encoder"], row["run_id"]) == ("0" * 64, CARD.fingerprint, OLD_RUN)
    assert row.__fields__ == ["path", "label", "sha256", "encoder", "run_id", "features"]


def status_row(path: str, status: str, reason: str | None = None) -> dict:
    return {**labeled(path), "status": status, "reason": reason, "detail": reason, "encoder": "e", "run_id": "r"}


def test_counts():
    rows = [
        *[status_row(f"f{i}", "featurised") for i in range(5)],
        *[status_row(f"q{i}", "quarantined", "empty") for i in range(2)],
        *[status_row(f"u{i}", "unchanged") for i in range(3)],
        status_row("uq", "unchanged", "truncated"),
    ]
    counts = count_images(summary("image_index", rows), summary("image_status", rows))
    assert int(counts.pop("digest"))
    assert counts == {
        "listed": 11,
        "featurised": 5,
        "quarantined": 2,
        "unchanged": 4,
        "in_quarantine": 3,
        "with_features": 8,
        "encoder": "e",
    }
    empty = count_images(summary("image_index", []), summary("image_status", []))
    assert (empty["listed"], empty["digest"]) == (0, "0")
    json.dumps(counts)


def test_the_digest_is_that_of_the_features():
    """Every change of a feature's origin or label changes it; order, quarantine and what runs did with it do not."""
    rows = [status_row(f"{i}", "featurised") for i in range(6)]
    bad = status_row("bad", "quarantined", "empty")
    changes = [{"path": "7"}, {"label": "Pear"}, {"encoder": "f"}, {"run_id": "s"}]
    others = {f"changed {change}": [*rows[:-1], {**rows[-1], **change}] for change in changes}
    for labels in ("bbbaaa", "aaabbb", "ababab"):
        others[labels] = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
    others |= {"fewer": rows[:-1], "more": [*rows, status_row("7", "featurised")], "none": []}
    equal = {"as it is": rows, "turned": rows[::-1], "unchanged": [{**row, "status": "unchanged"} for row in rows]}
    equal |= {"with a bad one": [bad, *rows]}
    cases = {**others, **equal}
    found = {case: digest_of(summary("image_status", rows or [bad])) for case, rows in cases.items()}
    assert {found[case] for case in equal} == {found["as it is"]}
    assert len({found[case] for case in others} - {found["as it is"]}) == len(others)
    assert found["none"] == "0"


@pytest.mark.parametrize(
    ("listed", "status"),
    [
        (["a", "b"], ["a"]),
        (["a"], ["a", "b"]),
        (["a", "b"], ["a", "a"]),
        (["a", "b"], ["a", "c"]),
    ],
    ids=["lost", "out of nothing", "lost and doubled", "another one"],
)
def test_numbers_that_do_not_add_up(listed, status):
    found = [
        summary(name, [status_row(path, "featurised") for path in paths])
        for name, paths in (("image_index", listed), ("image_status", status))
    ]
    with pytest.raises(ContractError, match=re.escape(f"Images listed: {len(listed)}, accounted for: {len(status)}")):
        count_images(*found)


def test_two_files_of_one_name_are_two():
    """Names that are no UTF-8 may look alike in the tables; nothing can read such files, so they have no features."""
    found = [
        summary(name, [status_row(path, "quarantined", reason="vanished") for path in ("a�", "a�", "b")])
        for name in ("image_index", "image_status")
    ]
    counts = count_images(*found)
    assert (counts["listed"], counts["quarantined"], counts["in_quarantine"]) == (3, 3, 3)


# ---- the tasks -------------------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 10**8), st.integers(1, 10**5), st.integers(1, 5000))
def test_tasks_are_small_enough_and_keep_all_cores_busy(n_images, images_per_task, n_cores):
    n_tasks = count_tasks(n_images, images_per_task, n_cores)
    assert 1 <= n_tasks <= n_images
    assert math.ceil(n_images / n_tasks) <= images_per_task
    assert n_tasks == n_images or n_tasks % n_cores == 0
    if n_tasks % n_cores == 0 and n_tasks > n_cores:  # one round less would not do
        assert (n_tasks - n_cores) * images_per_task < n_images


def test_count_tasks_by_hand():
    assert [count_tasks(n, 128, 2) for n in (1, 2, 3, 256, 257, 1000)] == [1, 2, 2, 2, 4, 8]


# ---- the encoder -----------------------------------------------------------------------------------------------------


def test_an_exported_encoder_is_not_exported_again():
    asked = EncoderParameters(name="MobileNetV2", alpha=0.35, weights="random:2", engine="onnx", precision="float32")
    loaded = []

    def exported(encoder: Encoder) -> ExportedEncoder:
        return ExportedEncoder(encoder.card, lambda: loaded.append(encoder) or encoder)

    known = [exported(ENCODER), exported(OTHER_ENCODER)]
    assert choose_encoder(asked, EncoderWeights("random:2"), known) is OTHER_ENCODER
    assert loaded == [OTHER_ENCODER]


def test_weights_of_another_name_than_the_parameters_are_refused():
    """As when conf/local/parameters_featurization.yml names them, which the catalog does not read."""
    asked = EncoderParameters(name="MobileNetV2", alpha=0.35, weights="imagenet", engine="onnx", precision="float32")
    with pytest.raises(InputError, match=r"imagenet in the parameters, but bundled in the catalog.*globals\.yml"):
        choose_encoder(asked, EncoderWeights("bundled", b""), [])


# ---- the featurization, with a network of one operation --------------------------------------------------------------


@pytest.fixture(scope="module")
def mean_encoder() -> Encoder:
    """An ONNX network whose features are 1280 times the mean of the pixels, as 0 … 6."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "scale": np.full((1, N_FEATURES), 6 / 255, np.float32),
        "axes": np.array([1, 2, 3], np.int64),
        "column": np.array([-1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Reshape", ["means", "column"], ["rows"]),
        helper.make_node("MatMul", ["rows", "scale"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [None, 224, 224, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, N_FEATURES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    card = EncoderCard("mean", 0.35, "onnx", "none", "3" * 64, PREPROCESSING)
    return Encoder(card, model.SerializeToString())


def test_a_batch_from_files_to_the_committed_table(spark, tmp_path, mean_encoder):
    """Through Spark's workers, the contract and the dataset: every pending image has one row, with its own features."""
    folder = tmp_path / "images é" / "Äpfel [1]"
    folder.mkdir(parents=True)
    contents = {}
    for i in range(40):
        buffer = io.BytesIO()
        Image.new("RGB", (3, 2), (6 * i, 0, 255)).save(buffer, "PNG")
        contents[f"file:{folder}/{i} #%20.jpg"] = buffer.getvalue() if i % 8 else buffer.getvalue()[:-30]
    for path, content in contents.items():
        (folder / path.rpartition("/")[2]).write_bytes(content)
    contents[f"file:{folder}/gone.jpg"] = None
    pending = table(spark, "labeled_images", [labeled(path, i) for i, path in enumerate(contents)])

    (batch,) = featurize_images(PendingImages(pending), mean_encoder, parameters(images_per_task=4), RUN)
    dataset = CommittedBatchesDataset(filepath=str(tmp_path / "table"), table="featurized_images")
    dataset.save(TableContract("featurized_images").validate(batch))

    rows = {row["path"]: row for row in dataset.load().collect()}
    assert sorted(rows) == sorted(contents)
    assert dataset.load().count() == len(contents)
    for i, (path, content) in enumerate(contents.items()):
        row = rows[path]
        assert (row["length"], row["modification_time"].astimezone(UTC), row["label"]) == (i, WHEN, "Apple")
        assert (row["encoder"], row["run_id"]) == (mean_encoder.card.fingerprint, THIS_RUN)
        assert row["judged_by"] == judged_by(10_000)
        if content is None:
            assert (row["reason"], row["features"], row["sha256"]) == ("vanished", None, None)
        elif i % 8 == 0:
            assert (row["reason"], row["features"], row["width"]) == ("truncated", None, 3)
        else:
            expected = decode(content).pixels.mean() / 255 * 6
            np.testing.assert_allclose(row["features"], np.full(N_FEATURES, expected), rtol=1e-5)
            assert row["reason"] is None


def loads_by_worker(spark) -> dict[int, int]:
    """How many networks each living Python worker has loaded in its life, by process id."""

    def ask(batches):
        from fruits_pipeline.encoders.runtime import loads_in_this_process

        for _ in batches:
            time.sleep(0.1)  # so that every worker gets one of the tasks
            yield pa.RecordBatch.from_pydict({"pid": [os.getpid()], "loads": [loads_in_this_process()]})

    rows = spark.range(0, 8, numPartitions=8).mapInArrow(ask, "pid bigint, loads bigint").collect()
    return {row["pid"]: row["loads"] for row in rows}


def test_a_worker_loads_the_encoder_once_and_tasks_share_the_images_evenly(spark, tmp_path, mean_encoder):
    picture = io.BytesIO()
    Image.new("RGB", (3, 2), (60, 0, 255)).save(picture, "PNG")
    for i in range(41):
        (tmp_path / f"{i}.png").write_bytes(picture.getvalue())
    pending = table(spark, "labeled_images", [labeled(f"file:{tmp_path}/{i}.png", i) for i in range(41)])
    unique = dataclasses.replace(mean_encoder, card=dataclasses.replace(mean_encoder.card, weights_sha256="4" * 64))
    before = loads_by_worker(spark)
    (batch,) = featurize_images(PendingImages(pending, 41), unique, parameters(images_per_task=4), RUN)
    batch.write(f"file://{tmp_path}/table", {})
    after = loads_by_worker(spark)
    new_loads = [loads - before.get(pid, 0) for pid, loads in after.items()]
    assert max(new_loads) == 1
    rows = [pq.read_metadata(path).num_rows for path in (tmp_path / "table").glob("*.parquet")]
    assert sum(rows) == 41
    assert len(rows) == count_tasks(41, 4, spark.sparkContext.defaultParallelism)
    assert max(rows) - min(rows) <= 1


def test_the_network_gets_as_many_images_as_it_is_compiled_for(spark):
    in_bfloat16 = Encoder(dataclasses.replace(CARD, precision="bfloat16"), b"")
    pending = table(spark, "labeled_images", [labeled("one")])
    sizes = [
        batch.function.batch_size
        for encoder in (ENCODER, in_bfloat16)
        for batch in featurize_images(
            PendingImages(pending, 1), encoder, parameters(batch_size=2), RunRecord(run_id=THIS_RUN)
        )
    ]
    assert sizes == [2, IMAGES_PER_CALL["bfloat16"]]


def test_nothing_pending_nothing_written(spark, mean_encoder):
    nothing = table(spark, "labeled_images", [])
    for n_images in (None, 0):
        assert list(featurize_images(PendingImages(nothing, n_images), mean_encoder, parameters(), RUN)) == []
