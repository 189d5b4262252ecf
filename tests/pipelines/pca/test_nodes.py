"""PCA from moments is that of scikit-learn, with exact k and fixed signs; the projection on Spark is its transform."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from fruits_pipeline.contracts import TableContract
from fruits_pipeline.datasets.fits import KeptFit
from fruits_pipeline.encoders.card import Encoder, EncoderCard
from fruits_pipeline.errors import ContractError, InputError
from fruits_pipeline.fits import ARRAYS, Fit, compare_fits, fingerprint_of
from fruits_pipeline.parameters import PcaParameters
from fruits_pipeline.pipelines.featurization.nodes import digest_of
from fruits_pipeline.pipelines.pca.nodes import (
    choose_k,
    compare_with_current,
    fit_pca,
    is_projected,
    keep_fit,
    project_features,
)
from fruits_pipeline.pipelines.scaling.nodes import fit_scaler
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.schemas import COLUMNS, N_FEATURES, arrow_schema, struct_type
from fruits_pipeline.workers.moments import Moments, merge_pairwise
from fruits_pipeline.workers.summaries import Summary, add_up, summary_of
from fruits_pipeline.workers.writing import MappedRows

ALL = PcaParameters(variance=1.0)


def fit(vectors: np.ndarray, n_parts: int = 1, **parameters) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    merged = merge_pairwise(Moments.of(part) for part in np.array_split(vectors, n_parts))
    moments = {"count": np.array([merged.count]), "mean": merged.mean, "comoment": merged.comoment}
    scaler = fit_scaler(moments)
    return scaler, fit_pca(moments, scaler, PcaParameters(**{"variance": 0.95, **parameters}))


def features(n: int, d: int, seed: int = 0) -> np.ndarray:
    """(n, d) float32 like a network's: between 0 and 6, correlated, with a spectrum that falls off."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) * 0.9 ** np.arange(d) @ rng.normal(size=(d, d))
    return np.clip(2 + mixed, 0, 6).astype(np.float32)


def with_constants(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.copy()
    vectors[:, 3], vectors[:, 7] = 0.0, 0.1
    return vectors


CASES = {
    "n much larger than d": features(2000, 20),
    "n smaller than d": features(12, 40),
    "constant columns": with_constants(features(300, 20)),
    "duplicated rows": np.repeat(features(25, 30), 20, axis=0),
    "two images": features(2, 30),
    "two images and constants": with_constants(features(2, 30)),
}


def turned(components: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The same axes, with the signs of others."""
    return components * np.sign(np.sum(components * like, axis=1))[:, None]


@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_scikit_learn(name, n_parts):
    vectors = CASES[name]
    n_parts = min(n_parts, len(vectors))
    scaler, pca = fit(vectors, n_parts, variance=1.0)
    reference = StandardScaler().fit(vectors.astype(np.float64))
    standardised = reference.transform(vectors.astype(np.float64))
    sklearn = PCA(svd_solver="full").fit(standardised)
    k = len(pca["components"])
    rank = np.linalg.matrix_rank(standardised)
    assert k == rank
    np.testing.assert_allclose(scaler["mean"], reference.mean_, rtol=1e-6)
    np.testing.assert_allclose(scaler["scale"], reference.scale_, rtol=1e-6)
    np.testing.assert_allclose(pca["explained_variance"], sklearn.explained_variance_[:k], rtol=1e-6)
    np.testing.assert_allclose(pca["explained_variance_ratio"], sklearn.explained_variance_ratio_[:k], rtol=1e-6)
    np.testing.assert_allclose(pca["total_variance"], [sklearn.explained_variance_.sum()], rtol=1e-6)
    expected = turned(sklearn.components_[:k], pca["components"])
    np.testing.assert_allclose(pca["components"], expected, rtol=0, atol=1e-6)
    scores = (vectors - scaler["mean"]) / scaler["scale"] @ pca["components"].T
    np.testing.assert_allclose(scores, standardised @ expected.T, rtol=0, atol=1e-6 * np.abs(scores).max())


def test_five_hundred_rows_of_real_width_and_low_rank():
    """Where Spark's own PCA was seen to be wrong: 500 rows of 1280 features, of which 100 are different."""
    vectors = np.repeat(features(100, N_FEATURES, seed=5), 5, axis=0)
    _, pca = fit(vectors, n_parts=4)
    standardised = StandardScaler().fit_transform(vectors.astype(np.float64))
    sklearn = PCA(svd_solver="full").fit(standardised)
    k = int(np.argmax(np.cumsum(sklearn.explained_variance_ratio_) >= 0.95)) + 1
    assert len(pca["components"]) == k
    np.testing.assert_allclose(pca["explained_variance_ratio"], sklearn.explained_variance_ratio_[:k], rtol=1e-6)
    expected = turned(sklearn.components_[:k], pca["components"])
    np.testing.assert_allclose(pca["components"], expected, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(3, 40), st.integers(2, 15), st.integers(1, 9))
def test_components_are_orthonormal_largest_first_and_whole(seed, n, d, n_parts):
    vectors = features(n, d, seed)
    scaler, pca = fit(vectors, min(n_parts, n), variance=1.0)
    k = len(pca["components"])
    assert k <= min(n - 1, d)
    np.testing.assert_allclose(pca["components"] @ pca["components"].T, np.eye(k), atol=1e-10)
    assert (np.diff(pca["explained_variance"]) <= 0).all()
    assert pca["explained_variance_ratio"].sum() == pytest.approx(1)
    standardised = (vectors - scaler["mean"]) / scaler["scale"]
    scores = standardised @ pca["components"].T
    np.testing.assert_allclose(scores @ pca["components"], standardised, atol=1e-5)  # nothing is left out
    np.testing.assert_allclose(scores.var(axis=0, ddof=1), pca["explained_variance"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("vectors", [features(1, 30), np.tile(features(1, 30), (7, 1))], ids=["one image", "all alike"])
def test_without_variance_there_are_no_components(vectors):
    _, pca = fit(vectors, min(len(vectors), 3))
    assert pca["components"].shape == (0, 30)
    assert pca["explained_variance"].shape == pca["explained_variance_ratio"].shape == (0,)
    np.testing.assert_array_equal(pca["total_variance"], [0])


def test_without_variance_no_number_of_components_gives_nan():
    _, pca = fit(np.tile(features(1, 30), (7, 1)), n_components=2)
    assert np.isfinite(pca["explained_variance_ratio"]).all()


# ---- k ---------------------------------------------------------------------------------------------------------------


def k_of(variances: list[float], count: int = 1000, **parameters) -> int:
    return choose_k(np.array(variances, float), count, PcaParameters(**{"variance": 0.95, **parameters}))


@pytest.mark.parametrize(
    ("variance", "k"),
    [(0.01, 1), (0.5, 1), (np.nextafter(0.5, 1), 2), (0.75, 2), (0.7500001, 3), (0.875, 3), (0.9, 4), (1.0, 4)],
)
def test_k_is_exact_at_the_boundaries(variance, k):
    assert k_of([8, 4, 2, 2], variance=variance) == k


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 64))
@settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_k_is_the_smallest_that_reaches_the_share(variances, share):
    variances = sorted(variances, reverse=True)
    k = k_of(variances, variance=share / 64)
    total = sum(variances)
    assert sum(variances[:k]) * 64 >= share * total * (1 - 1e-12)
    assert sum(variances[: k - 1]) * 64 < share * total * (1 + 1e-12)


def test_the_share_counts_all_features_not_only_those_kept():
    """The notebook's argmax(cumsum >= 95) + 1 gave 1 where no component reached the share."""
    assert k_of([1] * 1000, variance=0.95) == 950


@pytest.mark.parametrize(("count", "k"), [(1, 0), (2, 1), (3, 2), (5, 4), (100, 4)])
def test_all_the_variance_takes_no_more_components_than_images_have(count, k):
    variances = [4, 3, 2, 1][: count - 1] + [0] * max(0, 5 - count)
    assert k_of(variances, count, variance=1.0) == min(k, 4)


def test_rounding_errors_are_no_components():
    assert k_of([5, 3, 1e-15, 1e-16, 0], variance=1.0) == 2


@pytest.mark.parametrize(("count", "d", "most"), [(5, 10, 4), (100, 10, 10), (1, 10, 0), (2, 1, 1)])
def test_the_number_of_components_has_a_limit(count, d, most):
    variances = [1.0] * d
    for n_components in range(1, most + 1):
        assert k_of(variances, count, n_components=n_components) == n_components
    message = (
        f"pca.n_components={most + 1} is out of range: {count} images of {d} features have at most {most} components"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        k_of(variances, count, n_components=most + 1)


def test_the_number_of_components_wins_over_the_share():
    _, pca = fit(features(50, 10), variance=0.01, n_components=7)
    assert len(pca["components"]) == 7


# ---- signs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n much larger than d", "n smaller than d", "constant columns"])
def test_the_largest_loading_is_positive(name):
    components = fit(CASES[name], variance=1.0)[1]["components"]
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(len(components)), largest] > 0).all()


def test_signs_and_components_do_not_depend_on_the_parts():
    vectors = features(500, 20)
    expected = fit(vectors, variance=1.0)[1]["components"]
    for n_parts in (2, 7, 100, 500):
        np.testing.assert_allclose(fit(vectors, n_parts, variance=1.0)[1]["components"], expected, atol=1e-9)


def test_mirrored_features_mirror_the_components():
    vectors = features(200, 8)
    mirrored = 6 - vectors  # the same spread in the other direction, so the same axes with the same signs
    np.testing.assert_allclose(
        fit(mirrored, variance=1.0)[1]["components"], fit(vectors, variance=1.0)[1]["components"], atol=1e-6
    )


def test_signs_are_fixed_where_loadings_are_equally_large():
    """Two images, and features that are multiples of each other, have loadings that differ by rounding only."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        column = rng.normal(size=(50, 1))
        vectors = np.hstack([column, -2 * column, 0.1 * rng.normal(size=(50, 1))]).astype(np.float32)
        components = [fit(vectors, n_parts, n_components=1)[1]["components"] for n_parts in (1, 2, 3, 7)]
        np.testing.assert_allclose(components, [components[0]] * 4, atol=1e-6)


# ---- the fit and its name --------------------------------------------------------------------------------------------

CARD = EncoderCard("MobileNetV2", 0.35, "onnx", "random:1", "1" * 64)
ENCODER = Encoder(CARD, b"")
FIRST, SECOND = "2026-11-20T00.00.00.000Z", "2026-11-21T00.00.00.000Z"
RUN = RunRecord(run_id=SECOND, git_commit="abc-dirty")
PARAMETERS = PcaParameters(variance=0.95)


def kept(one: Fit, is_current: bool = True) -> KeptFit:
    return KeptFit(one.card, is_current, lambda: one)


def keep(vectors: np.ndarray, kept_fits: list[KeptFit] = (), encoder: Encoder = ENCODER, run: RunRecord = RUN) -> Fit:
    scaler, pca = fit(vectors)
    counts = {"encoder": encoder.card.fingerprint, "digest": "42"}
    moments = {"count": np.array([len(vectors)]), "digest": np.frombuffer(b"42", np.uint8)}
    return keep_fit(counts, moments, scaler, pca, list(kept_fits), PARAMETERS, run)


def test_moments_of_other_features_are_not_fitted():
    """As after another encoder's features were made, and pca alone is run."""
    scaler, pca = fit(features(40, 12))
    moments = {"count": np.array([40]), "digest": np.frombuffer(b"41", np.uint8)}
    with pytest.raises(InputError, match="kedro run --pipelines=scaling,pca"):
        keep_fit({"encoder": "e", "digest": "42"}, moments, scaler, pca, [], PARAMETERS, RUN)


def test_a_fit_holds_scaler_and_components_and_what_is_known_of_them():
    vectors = features(40, 12)
    made, (scaler, pca) = keep(vectors), fit(vectors)
    assert set(made.arrays) == set(ARRAYS)
    for name in ARRAYS:
        np.testing.assert_array_equal(made.arrays[name], {**scaler, **pca}[name])
    assert made.card.fit == fingerprint_of(CARD.fingerprint, {**scaler, **pca})
    assert (made.card.encoder, made.card.run_id, made.card.n_images) == (CARD.fingerprint, SECOND, 40)
    assert made.card.n_components == len(pca["components"])
    assert made.card.variance_reached == pytest.approx(pca["explained_variance_ratio"].sum())
    assert (made.card.parameters, made.card.git_commit) == ({"variance": 0.95, "n_components": None}, "abc-dirty")
    assert made.card.compared == {}
    json.dumps(made.card.to_dict())


def test_a_new_fit_is_compared_with_the_one_in_use():
    vectors = features(60, 12)
    earlier, in_use = keep(features(60, 12, seed=1)), keep(vectors)
    made = keep(vectors[:50], [kept(earlier, is_current=False), kept(in_use)])
    assert made.card.fit not in (earlier.card.fit, in_use.card.fit)
    assert made.card.compared == compare_fits(made.arrays, in_use)
    assert made.card.compared["with"] == in_use.card.fit
    assert made.card.compared["principal_angles"]["largest"] > 0.1


def test_a_fit_that_was_made_before_keeps_its_origin():
    """Its name is its content: run and code are those that made it first; the comparison is with the one in use now."""
    vectors = features(60, 12)
    first = keep(vectors, run=RunRecord(run_id=FIRST, git_commit="first"))
    again = keep(vectors, [kept(first)])
    assert again.card == dataclasses.replace(first.card, compared=again.card.compared)
    assert again.card.compared["with"] == first.card.fit
    assert again.card.compared["principal_angles"] == {"median": 0.0, "largest": 0.0}
    other = keep(vectors[:50])
    back = keep(vectors, [kept(first, is_current=False), kept(other)])
    assert (back.card.run_id, back.card.git_commit, back.card.compared["with"]) == (FIRST, "first", other.card.fit)


def test_fits_of_different_encoders_are_not_compared_nor_the_same():
    vectors = features(60, 12)
    in_use = keep(vectors)
    other = Encoder(dataclasses.replace(CARD, weights_sha256="2" * 64), b"")
    made = keep(vectors, [kept(in_use)], encoder=other)
    assert made.card.compared == {}
    assert made.card.fit != in_use.card.fit
    assert (made.card.encoder, made.card.run_id) == (other.card.fingerprint, SECOND)


def test_without_a_fit_in_use_nothing_is_compared_or_loaded():
    def explode():
        raise AssertionError("this fit was loaded")

    in_use = keep(features(60, 12))
    unused = KeptFit(in_use.card, is_current=False, load=explode)
    assert compare_with_current(in_use.card, in_use.arrays, []) == {}
    assert compare_with_current(in_use.card, in_use.arrays, [unused]) == {}


# ---- the projection --------------------------------------------------------------------------------------------------


def summary(name: str, rows: list[dict]) -> Summary:
    """Of a table of these rows."""
    return add_up(name, [summary_of(name, pa.RecordBatch.from_pylist(rows, arrow_schema(name)))])


def rows_of(frame) -> list[dict]:
    return [row.asDict() for row in frame.collect()]


def status_of(paths: list[str]) -> list[dict]:
    same = {"label": "é", "status": "unchanged", "encoder": CARD.fingerprint, "run_id": FIRST}
    return [{"path": path, **same} for path in paths]


def featurized_of(paths: list[str], vectors: np.ndarray) -> list[dict]:
    """… in the order of the paths: `sha256` is the number of the row."""
    same = {"label": "before", "encoder": CARD.fingerprint, "run_id": FIRST}
    pairs = enumerate(zip(paths, vectors, strict=True))
    return [{"path": path, "sha256": f"{i:064}", "features": vector, **same} for i, (path, vector) in pairs]


def stored(spark, folder: Path, name: str, rows: list[dict]):
    """A table as Spark reads it from a file."""
    file = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(name)), file)
    return spark.read.schema(struct_type(name)).parquet(str(file))


@pytest.fixture(scope="module")
def tables(spark, tmp_path_factory):
    """Features of 40 images, and their status."""
    vectors = features(40, N_FEATURES, seed=9)
    paths = [f"file:/a b/{i}.jpg" for i in range(40)]
    folder = tmp_path_factory.mktemp("projection")
    featurized = stored(spark, folder, "featurized_images", featurized_of(paths, vectors))
    return vectors, paths, featurized, stored(spark, folder, "image_status", status_of(paths))


@pytest.fixture(scope="module")
def made(tables) -> Fit:
    return keep(tables[0])


NOTHING: Summary = {}
"""What is known of `reduced_features` before the first run."""


def projected(featurized, status, kept_projection, made: Fit, run: RunRecord = RUN) -> list[MappedRows]:
    known = summary("image_status", rows_of(status))
    counts = {"with_features": known["with_features"], "digest": digest_of(known)}
    made_by_workers = project_features(featurized, status, counts, kept_projection, made, run)
    return [TableContract("reduced_features").validate(rows) for rows in made_by_workers]


def written(rows: MappedRows, folder: Path) -> Summary:
    return add_up(rows.table, rows.write(f"file://{folder}", {}).values())


def test_projection_is_the_transform_of_scikit_learn(tables, made):
    vectors, paths, featurized, status = tables
    table = projected(featurized.repartition(3), status, NOTHING, made)[0].to_dataframe()
    assert dict(table.dtypes) == COLUMNS["reduced_features"]
    rows = {row["path"]: row for row in table.collect()}
    assert sorted(rows) == sorted(paths)
    assert {row["label"] for row in rows.values()} == {"é"}
    standardised = StandardScaler().fit_transform(vectors.astype(np.float64))
    sklearn = PCA(n_components=len(made.arrays["components"]), svd_solver="full").fit(standardised)
    expected = standardised @ turned(sklearn.components_, made.arrays["components"]).T
    found = np.array([rows[path]["pca_features"] for path in paths])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_every_row_names_its_origin(tables, made):
    _, paths, featurized, status = tables
    (table,) = projected(featurized.repartition(3), status, NOTHING, made)
    rows = {row["path"]: row for row in table.to_dataframe().collect()}
    for i, path in enumerate(paths):
        row = rows[path]
        assert (row["sha256"], row["encoder"], row["features_run_id"]) == (f"{i:064}", CARD.fingerprint, FIRST)
        assert (row["fit"], row["run_id"]) == (made.card.fit, SECOND)


def test_what_is_projected_is_not_projected_again(tables, made, spark, tmp_path):
    """Unless the features, their labels or the fit are others."""
    vectors, _, featurized, status = tables
    (table,) = projected(featurized, status, NOTHING, made)
    kept_projection = written(table, tmp_path)
    assert projected(featurized, status, kept_projection, made) == []
    assert projected(None, status, kept_projection, made) == []  # no feature is read

    known = rows_of(status)
    rows = rows_of(spark.read.schema(struct_type("reduced_features")).parquet(f"file://{tmp_path}"))
    path, other = "file:/a b/7.jpg", "file:/a b/8.jpg"

    def is_done(status=known, projection=rows, with_fit=made) -> bool:
        digest = digest_of(summary("image_status", status))
        return is_projected(summary("reduced_features", projection), digest, with_fit)

    def without(rows: list[dict]) -> list[dict]:
        return [row for row in rows if row["path"] != path]

    def only(path: str, rows: list[dict]) -> list[dict]:
        return [row for row in rows if row["path"] == path]

    def changed(rows: list[dict], **columns: str) -> list[dict]:
        return [*without(rows), *({**row, **columns} for row in only(path, rows))]

    assert summary("reduced_features", rows) == kept_projection
    assert is_done()
    assert is_done(known[::-1], rows[20:] + rows[:20])
    assert not is_done(with_fit=keep(vectors[:30]))
    assert not is_done(projection=[])
    assert not is_done(projection=without(rows))  # a run died, or images were forgotten
    assert not is_done(projection=changed(rows, fit="f" * 16))
    assert not is_done(projection=[*rows, *({**row, "fit": "f" * 16} for row in rows)])
    assert not is_done(projection=rows * 2)
    assert not is_done(projection=[*rows, *only(path, rows)])
    assert not is_done(projection=[*without(rows), *only(other, rows)])  # as many as there must be
    assert not is_done(without(known))
    assert not is_done(changed(known, reason="empty"))
    for column in ("label", "run_id", "encoder"):
        assert not is_done(changed(known, **{column: "x"}))
    for column in ("label", "features_run_id", "encoder"):
        assert not is_done(projection=changed(rows, **{column: "x"}))
    for nothing in (NOTHING, summary("reduced_features", [])):
        assert not is_projected(nothing, "0", made)  # nothing of nothing is still to be written


def test_new_images_are_projected_without_a_look_at_the_old_projection(tables, made):
    _, paths, featurized, status = tables
    run = RunRecord("run 2", n_pending=1)
    (table,) = projected(featurized, status, None, made, run)
    assert sorted(row["path"] for row in table.to_dataframe().collect()) == sorted(paths)


def test_projection_on_no_components_keeps_every_image(tables):
    vectors, paths, featurized, status = tables
    made = keep(np.tile(vectors[:1], (2, 1)))
    rows = projected(featurized, status, NOTHING, made)[0].to_dataframe().collect()
    assert sorted(row["path"] for row in rows) == sorted(paths)
    assert all(row["pca_features"] == [] for row in rows)


def test_projection_of_no_images(spark, made, tmp_path):
    featurized, status = (stored(spark, tmp_path, name, []) for name in ("featurized_images", "image_status"))
    (table,) = projected(featurized, status, NOTHING, made)
    assert table.to_dataframe().collect() == []
    assert written(table, tmp_path / "x") == summary("reduced_features", [])


@pytest.mark.parametrize(
    ("n_featurized", "n_listed", "n_made"), [(2, 2, 4), (2, 1, 2), (0, 1, 0)], ids=["both twice", "twice", "lost"]
)
def test_doubled_and_lost_features_are_not_projected(spark, made, tmp_path, n_featurized, n_listed, n_made):
    """A path that has features twice would have each of them once for each of its statuses."""
    path, vectors = "file:/a b/1.jpg", features(n_featurized, N_FEATURES)
    featurized = stored(spark, tmp_path, "featurized_images", featurized_of([path] * n_featurized, vectors))
    status = stored(spark, tmp_path, "image_status", status_of([path] * n_listed))
    (table,) = projected(featurized, status, NOTHING, made)
    assert table.to_dataframe().count() == n_made
    message = f"Table reduced_features: {n_listed} rows were expected, {n_made} were made. Nothing of it was committed"
    with pytest.raises(ContractError, match=message):
        table.write(f"file://{tmp_path}/x", {})
