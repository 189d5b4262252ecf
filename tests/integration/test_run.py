"""`kedro run` as a person types it: the bundled sample, then what arrives, changes and goes."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from fruits_pipeline.schemas import COLUMNS

pytestmark = pytest.mark.slow

LAYERS = ["02_intermediate", "03_primary", "04_feature", "05_model_input", "06_models", "08_reporting"]


def table(folder: Path) -> pd.DataFrame:
    """All committed rows; the folder of the run, or of the batch, is the last column."""
    return pq.read_table(folder).to_pandas()


def report(output: Path) -> dict:
    return json.loads((output / "08_reporting" / "run_report.json").read_text(encoding="utf-8"))


def listed(images: Path) -> set[str]:
    return {f"file:{path}" for path in images.rglob("*") if path.is_file()}


def test_writes_the_layers_of_kedro(sample_run):
    assert sorted(path.name for path in sample_run.output.iterdir()) == LAYERS


def test_every_image_is_accounted_for(sample_run):
    counts = report(sample_run.output)["counts"]
    files = listed(sample_run.images)
    assert counts["listed"] == len(files)
    assert counts["listed"] == counts["featurised"] + counts["quarantined"] + counts["unchanged"]
    assert (counts["quarantined"], counts["unchanged"]) == (2, 0)
    rows = table(sample_run.output / "04_feature" / "featurized_images")
    assert set(rows["path"]) == files
    assert rows["path"].is_unique


def test_broken_images_have_reasons(sample_run):
    rows = table(sample_run.output / "04_feature" / "featurized_images")
    bad = rows[rows["features"].isna()]
    assert {Path(path).stem: reason for path, reason in zip(bad["path"], bad["reason"], strict=True)} == {
        "broken_empty": "empty",
        "broken_truncated": "truncated",
    }
    listed_bad = pd.read_csv(sample_run.output / "08_reporting" / "quarantine.csv")
    assert set(listed_bad["path"]) == set(bad["path"])
    pd.testing.assert_frame_equal(
        pd.read_parquet(sample_run.output / "08_reporting" / "quarantine.parquet"), listed_bad, check_dtype=False
    )
    assert report(sample_run.output)["quarantine_reasons"] == {"empty": 1, "truncated": 1}
    labels = report(sample_run.output)["quarantine_labels"]
    assert sum(sum(reasons.values()) for reasons in labels.values()) == 2
    assert set(labels) == set(bad["label"])


def test_features_keep_their_contract(sample_run):
    rows = table(sample_run.output / "04_feature" / "featurized_images")
    assert [name for name in rows.columns if name != "batch"] == list(COLUMNS["featurized_images"])
    features = np.stack(rows["features"].dropna())
    assert features.shape == (len(rows) - 2, 1280)
    assert features.dtype == np.float32
    assert features.min() >= 0
    assert features.max() <= 6
    assert features.std(axis=0).max() > 0.01


def test_labels_are_the_folders(sample_run):
    rows = table(sample_run.output / "05_model_input" / "reduced_features")
    assert list(rows["label"]) == [Path(path).parent.name for path in rows["path"]]
    assert {"Pêche jaune", "Apple Red 1"} <= set(rows["label"])


def test_projection_is_that_of_scaler_and_pca(sample_run):
    models = sample_run.output / "06_models"
    scaler, pca = load_file(models / "scaler.safetensors"), load_file(models / "pca.safetensors")
    rows = table(sample_run.output / "04_feature" / "featurized_images").dropna(subset="features").set_index("path")
    reduced = table(sample_run.output / "05_model_input" / "reduced_features").set_index("path")
    assert set(reduced.index) == set(rows.index)
    features = np.stack(rows.loc[reduced.index, "features"]).astype(np.float64)
    np.testing.assert_allclose(scaler["mean"], features.mean(axis=0), rtol=1e-9, atol=1e-12)
    expected = (features - scaler["mean"]) / scaler["scale"] @ pca["components"].T
    np.testing.assert_allclose(np.stack(reduced["pca_features"]), expected, rtol=1e-6, atol=1e-9)
    assert pca["components"].shape == (len(pca["explained_variance"]), 1280)
    shares = np.cumsum(pca["explained_variance_ratio"])
    assert shares[-1] >= 0.95 > shares[-2]


def test_every_row_of_the_projection_names_its_origin(sample_run):
    """Image bytes, encoder, fit, the runs that made features and projection, and through them code and parameters."""
    reduced = table(sample_run.output / "05_model_input" / "reduced_features").set_index("path")
    assert [*reduced.columns][:-1] == [name for name in COLUMNS["reduced_features"] if name != "path"]
    for path, sha256 in reduced["sha256"].items():
        assert hashlib.sha256(Path(path.removeprefix("file:")).read_bytes()).hexdigest() == sha256
    written = report(sample_run.output)
    named = {name: set(reduced[name]) for name in ("encoder", "features_run_id", "fit", "run_id", "run")}
    run_id = written["run_id"]
    assert named == {
        **{"encoder": {written["encoder"]["fingerprint"]}, "fit": {written["fit"]["fit"]}},
        **{"features_run_id": {run_id}, "run_id": {run_id}, "run": {run_id}},
    }
    kept = json.loads((sample_run.output / "08_reporting" / "runs" / f"{run_id}.json").read_text(encoding="utf-8"))
    assert kept == written
    card = json.loads((sample_run.output / "06_models" / "fits" / f"{written['fit']['fit']}.json").read_text())
    assert card == written["fit"]
    assert (card["run_id"], card["n_images"], card["compared"]) == (run_id, len(reduced), {})
    arrays = load_file(sample_run.output / "06_models" / "fits" / f"{card['fit']}.safetensors")
    for name in ("scaler", "pca"):
        for key, array in load_file(sample_run.output / "06_models" / f"{name}.safetensors").items():
            np.testing.assert_array_equal(arrays[key], array)


def test_report_says_what_was_run(sample_run):
    written = report(sample_run.output)
    assert written["encoder"]["weights"] == "bundled"
    assert len(written["encoder"]["weights_sha256"]) == 64
    rows = table(sample_run.output / "04_feature" / "featurized_images")
    assert set(rows["encoder"]) == {written["encoder"]["fingerprint"]}
    assert set(rows["run_id"]) == {written["run_id"]}
    assert {"python", "pyspark", "spark", "java", "onnxruntime", "kedro"} <= set(written["versions"])
    assert written["seconds"]["nodes"]["featurize_images"] > 0
    assert written["images_per_second"]["featurization"] > 0
    assert written["parameters"]["encoder"]["weights"] == "bundled"
    assert written["pca"]["variance_reached"] >= 0.95


def test_log_is_calm(sample_run):
    lines = sample_run.log.splitlines()
    assert len(lines) < 40
    assert "\x1b" not in sample_run.log
    noise = ("retracing", "netlib", "WARN Utils", "cuda", "Traceback", "Warning")
    assert [line for line in lines if any(word in line for word in noise)] == []
    assert any("weights bundled" in line for line in lines)


def test_java_starts_neither_the_parser_of_sql_nor_the_reflection_of_scala(sample_run, kedro, tmp_path):
    # Half a second of every run each, for one schema in words or one function that nobody calls.
    shutil.copytree(sample_run.output / "06_models" / "encoders", tmp_path / "output" / "06_models" / "encoders")
    done = kedro(
        "run",
        f"--params=images={sample_run.images},output={tmp_path / 'output'}",
        JAVA_TOOL_OPTIONS=f"-Xlog:class+load:file={tmp_path / 'classes-%p.log'}",
    )
    assert done.returncode == 0, done.stderr
    classes = "".join(log.read_text() for log in tmp_path.glob("classes-*.log"))
    assert "org.apache.spark.sql.execution.python.MapInBatchExec" in classes
    assert "org.apache.spark.sql.catalyst.parser.SqlBaseLexer" not in classes
    assert "scala.reflect.runtime" not in classes


@pytest.fixture
def poisoned(tmp_path) -> str:
    """A PYTHONPATH on which TensorFlow cannot be imported."""
    for package in ("tensorflow", "keras"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')\n")
    return str(tmp_path)


def test_later_runs_do_only_what_is_new(sample_run, poisoned, kedro, tmp_path_factory):
    folder = tmp_path_factory.mktemp("growth")
    output = shutil.copytree(sample_run.output, folder / "output")
    params = f"--params=images={sample_run.images},output={output}"
    before = table(output / "05_model_input" / "reduced_features").set_index("path")

    def run() -> dict:
        done = kedro("run", params, PYTHONPATH=poisoned)
        assert done.returncode == 0, done.stderr
        return report(output)

    second = run()["counts"]
    assert (second["featurised"], second["quarantined"]) == (0, 0)
    assert second["unchanged"] == second["listed"]
    after = table(output / "05_model_input" / "reduced_features").set_index("path")
    np.testing.assert_allclose(np.stack(after.loc[before.index, "pca_features"]), np.stack(before["pca_features"]))
    assert len(list((output / "04_feature" / "featurized_images").glob("batch=*"))) == 1
    pd.testing.assert_frame_equal(after.loc[before.index], before)  # not even written again

    replaced, removed, other, another = sorted((sample_run.images / "Banana").glob("[0-9]*.jpg"))[:4]
    new, notes = replaced.with_name("new one.JPG"), replaced.with_name("notes.txt")
    saved = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (replaced, removed)}
    new.write_bytes(other.read_bytes())
    replaced.write_bytes(another.read_bytes())
    removed.unlink()
    notes.write_text("not an image")
    try:
        third = run()
    finally:
        restore(saved, [new, notes])
    runs = pd.read_csv(output / "08_reporting" / "runs.csv")
    assert list(runs["status"]) == ["finished"] * 3
    assert list(runs["featurised"]) == [2, 0, second["listed"] - 2]
    assert third["fit"]["compared"]["with"] == before["fit"].iloc[0] != third["fit"]["fit"]
    assert third["counts"]["featurised"] == 2
    assert third["counts"]["listed"] == second["listed"]
    assert third["counts"]["unchanged"] == second["listed"] - 2
    assert third["ignored_files"] == {"txt": 1}
    reduced = table(output / "05_model_input" / "reduced_features").set_index("path")["pca_features"]
    assert f"file:{removed}" not in reduced.index
    np.testing.assert_allclose(reduced[f"file:{new}"], reduced[f"file:{other}"])
    np.testing.assert_allclose(reduced[f"file:{replaced}"], reduced[f"file:{another}"])


def restore(saved: dict[Path, tuple[bytes, int]], added: list[Path]) -> None:
    """Puts the images of the shared run back as other tests expect them."""
    for path, (content, modified) in saved.items():
        path.write_bytes(content)
        os.utime(path, ns=(modified, modified))
    for path in added:
        path.unlink()
