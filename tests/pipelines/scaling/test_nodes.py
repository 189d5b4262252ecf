"""Moments on Spark are those of numpy, however the rows are partitioned; the scaler is scikit-learn's."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from fruits_pipeline.datasets import ArraysDataset
from fruits_pipeline.errors import ContractError, InputError
from fruits_pipeline.fits import Arrays
from fruits_pipeline.parameters import ScalingParameters
from fruits_pipeline.pipelines.scaling import nodes
from fruits_pipeline.pipelines.scaling.nodes import compute_moments, fit_scaler
from fruits_pipeline.schemas import N_FEATURES, struct_type
from fruits_pipeline.workers import moments
from fruits_pipeline.workers.arrays import feature_matrix
from fruits_pipeline.workers.moments import Moments

N_IMAGES = 10
DIGEST = "-12345"


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(4).uniform(0, 6, (N_IMAGES, N_FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def tables(spark, vectors, tmp_path_factory):
    """Current features, and rows that are not: an earlier batch, another encoder, quarantine, a removed image."""
    paths = [f"file:/{i}.jpg" for i in range(N_IMAGES)]
    noise = [np.full(N_FEATURES, 5.0, np.float32)] * 4
    columns = {
        "path": [*paths, paths[0], paths[1], "file:/broken.jpg", "file:/removed.jpg"],
        "run_id": ["2"] * N_IMAGES + ["1", "2", "2", "2"],
        "encoder": ["e"] * N_IMAGES + ["e", "other", "e", "e"],
        "sha256": ["0" * 64] * (N_IMAGES + 4),
        "reason": [*[None] * (N_IMAGES + 2), "empty", None],
        "features": pa.array([*vectors, *noise[:2], None, noise[3]], pa.list_(pa.float32())),
    }
    current = {
        "path": [*paths, "file:/broken.jpg"],
        "run_id": ["2"] * (N_IMAGES + 1),
        "encoder": ["e"] * (N_IMAGES + 1),
    }
    status = {**current, "label": ["x"] * (N_IMAGES + 1), "reason": [None] * N_IMAGES + ["empty"]}
    folder = tmp_path_factory.mktemp("moments")
    pq.write_table(pa.table(columns), folder / "featurized.parquet", row_group_size=5)
    pq.write_table(pa.table(status), folder / "status.parquet")
    return [spark.read.parquet(str(folder / f"{name}.parquet")) for name in ("featurized", "status")]


def assert_moments(found: dict[str, np.ndarray], vectors: np.ndarray) -> None:
    expected = Moments.of(vectors)
    assert found["count"].tolist() == [len(vectors)]
    np.testing.assert_allclose(found["mean"], expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found["comoment"], expected.comoment, rtol=0, atol=1e-12 * expected.comoment.max())
    assert {name: array.dtype for name, array in found.items()} == {
        "count": np.int64,
        "mean": np.float64,
        "comoment": np.float64,
        "digest": np.uint8,
    }
    assert found["digest"].tobytes().decode() == DIGEST


def computed(featurized, status, block_rows: int = 1024, digest: str = DIGEST, kept=None) -> list[Arrays]:
    """What the node yields."""
    counts = {"digest": digest, "with_features": status.where("reason is null").count() if status else 0}
    parameters = ScalingParameters(block_rows=block_rows)
    return list(compute_moments(featurized, status, counts, kept or {}, parameters))


@pytest.mark.parametrize(("partitions", "block_rows"), [(1, 1024), (2, 3), (7, 1), (2 * N_IMAGES, 1024)])
def test_moments_do_not_depend_on_the_partitions(tables, vectors, partitions, block_rows):
    featurized, status = tables
    (found,) = computed(featurized.repartition(partitions), status, block_rows)
    assert_moments(found, vectors)


def test_moments_of_the_same_features_are_not_computed_again(tables, vectors, tmp_path):
    """… as they are on disk after the last run."""
    dataset = ArraysDataset(filepath=str(tmp_path / "moments.safetensors"), optional=True)
    assert len(computed(*tables, kept=dataset.load())) == 1
    dataset.save(computed(*tables)[0])
    assert computed(*tables, kept=dataset.load()) == []
    assert computed(None, None, kept=dataset.load()) == []  # nothing is read


@pytest.mark.parametrize("change", ["another digest", "a longer digest", "no digest"])
def test_moments_of_other_features_are_computed(tables, vectors, change):
    """Those of an earlier version of this project hold no digest."""
    wrong = {"count": np.array([1]), "mean": np.zeros(N_FEATURES), "comoment": np.zeros((N_FEATURES, N_FEATURES))}
    digests = {"another digest": b"-12346", "a longer digest": f"{DIGEST}0".encode()}
    if change in digests:
        wrong["digest"] = np.frombuffer(digests[change], np.uint8)
    (found,) = computed(*tables, kept=wrong)
    assert_moments(found, vectors)


def test_many_partial_moments_are_merged_in_the_workers(tables, vectors, monkeypatch):
    monkeypatch.setattr(nodes, "_COLLECTED_PARTS", 1)
    featurized, status = tables
    (found,) = computed(featurized.repartition(5), status, block_rows=4)
    assert_moments(found, vectors)


def test_the_driver_takes_a_bounded_number_of_parts(tables, monkeypatch):
    """128 MB of features are a partition: 3 million images would send 1.5 GB, more than spark.driver.maxResultSize."""
    taken = []
    merge = nodes.merge_pairwise
    monkeypatch.setattr(nodes, "merge_pairwise", lambda parts: merge([taken.append(1) or part for part in parts]))
    featurized, status = tables
    computed(featurized.repartition(12), status)
    assert 0 < len(taken) <= nodes._COLLECTED_PARTS


def test_features_that_are_not_there_are_missed(tables):
    """As when somebody has removed a batch after the account."""
    featurized, status = tables
    with pytest.raises(ContractError, match=f"{N_IMAGES} images have features, but 9 were found"):
        computed(featurized.where("path != 'file:/3.jpg'"), status)
    with pytest.raises(ContractError, match=f"{N_IMAGES} images have features, but 0 were found"):
        computed(featurized.where("run_id = '1'"), status)


def test_without_features_there_is_nothing_to_scale(spark):
    empty = [spark.createDataFrame([], struct_type(table)) for table in ("featurized_images", "image_status")]
    with pytest.raises(InputError, match="every image is in quarantine"):
        computed(*empty, digest="0")


def test_partial_moments_of_blocks_and_of_sliced_batches(vectors):
    """A batch may be a view into a larger one, with an offset that `flatten` must respect."""
    column = pa.array(list(vectors), pa.list_(pa.float32()))
    np.testing.assert_array_equal(feature_matrix(column.slice(3, 6)), vectors[3:9])
    batch = pa.RecordBatch.from_arrays([column], names=["features"])
    (partial,) = moments.PartialMoments(block_rows=4)([batch.slice(3, 6), batch.slice(0, 4), batch.slice(0, 0)])
    row = partial.to_pylist()[0]
    found = moments.unpack(row["count"], row["mean"], row["comoment"])
    expected = Moments.of(np.concatenate([vectors[3:9], vectors[:4]]))
    assert found.count == 10
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.comoment, expected.comoment, rtol=0, atol=1e-12 * expected.comoment.max())


def test_an_empty_partition_has_no_moments():
    assert list(moments.PartialMoments(block_rows=4)([])) == []
    assert list(moments.merge_partials([])) == []


# ---- the scaler ------------------------------------------------------------------------------------------------------


def scaler_of(vectors: np.ndarray) -> dict[str, np.ndarray]:
    moments = Moments.of(vectors)
    return fit_scaler({"count": np.array([moments.count]), "mean": moments.mean, "comoment": moments.comoment})


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 8), st.integers(-6, 3), st.integers(0, 3))
def test_the_scaler_is_that_of_scikit_learn(seed, n, d, spread, n_constant):
    vectors = np.random.default_rng(seed).normal(3, 10.0**spread, (n, d)).astype(np.float32)
    vectors[:, : min(n_constant, d)] = 0.1
    scaler, reference = scaler_of(vectors), StandardScaler().fit(vectors.astype(np.float64))
    np.testing.assert_allclose(scaler["mean"], reference.mean_, rtol=1e-6)
    np.testing.assert_allclose(scaler["scale"], reference.scale_, rtol=1e-6)


def test_constant_features_have_scale_one():
    vectors = np.column_stack([np.full(1000, 0.1), np.zeros(1000), np.arange(1000.0)])
    np.testing.assert_allclose(scaler_of(vectors)["scale"], [1, 1, np.arange(1000).std()], rtol=1e-12)


def test_one_image_has_scale_one():
    np.testing.assert_array_equal(scaler_of(np.array([[1.0, 2.0]]))["scale"], [1, 1])


def test_a_small_spread_is_no_constant():
    vectors = np.array([[1.0], [1.0 + 1e-6]])
    assert scaler_of(vectors)["scale"][0] == pytest.approx(0.5e-6, rel=1e-6)
