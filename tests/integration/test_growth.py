"""Weeks in the life of an output folder: photographs come, change and go; results are those of a fresh start."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .outputs import Result, assert_same, read, report, result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LIMIT = "featurization.max_quarantined=0.2"


@dataclass(frozen=True)
class Step:
    """What a run left.

    Attributes:
        report: Its report.
        result: The current rows.
        paths: The images that were there.
    """

    report: dict
    result: Result
    paths: set[str]


class Life:
    """A folder of images, an output, and the runs over them."""

    def __init__(self, kedro, folder: Path, photographs: list[Path]) -> None:
        self.kedro, self.images, self.output = kedro, folder / "mes photos", folder / "résultats"
        self.photographs = iter(photographs)
        self.steps: dict[str, Step] = {}

    def add(self, n: int) -> list[Path]:
        """The next photographs arrive."""
        return [self.put(next(self.photographs)) for _ in range(n)]

    def put(self, source: Path, name: str = "") -> Path:
        target = self.images / source.parent.name / (name or source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target

    def run(self, name: str, *arguments: str, params: str = "") -> Step:
        given = ",".join(part for part in (f"images={self.images},output={self.output}", LIMIT, params) if part)
        done = self.kedro("run", *arguments, f"--params={given}")
        assert done.returncode == 0, done.stderr
        paths = {f"file:{path}" for path in self.images.rglob("*.jpg")}
        self.steps[name] = Step(report(self.output), result(self.output), paths)
        return self.steps[name]

    def fit_of(self, name: str) -> str:
        return self.steps[name].report["fit"]["fit"]


def pick(folder: Path) -> list[Path]:
    """Photographs of five labels, in turn."""
    labels = sorted(path for path in folder.iterdir() if path.is_dir() and len(list(path.glob("[0-9]*.jpg"))) > 10)[:5]
    columns = [sorted(label.glob("[0-9]*.jpg"))[:11] for label in labels]
    return [photograph for row in zip(*columns, strict=True) for photograph in row]


@pytest.fixture(scope="module", params=["real photographs", "the bundled sample"])
def life(request, kedro, project, sample_run, tmp_path_factory) -> Life:
    """All weeks, one after the other."""
    real = project.parent / "shared" / "images" / "fruits-360"
    if request.param == "real photographs" and not real.is_dir():
        pytest.skip("no ../shared on this machine")
    if request.param == "the bundled sample" and real.is_dir():
        pytest.skip("real photographs say more")
    source = real if request.param == "real photographs" else sample_run.images
    life = Life(kedro, tmp_path_factory.mktemp("life é"), pick(source))
    shutil.copytree(sample_run.output / "06_models" / "encoders", life.output / "06_models" / "encoders")

    first = life.add(20)
    life.run("week 1")
    replaced, removed, corrupted = first[0], first[5], first[10]
    second = life.add(12)
    replaced.write_bytes(first[1].read_bytes())
    removed.unlink()
    good = corrupted.read_bytes()
    corrupted.write_bytes(good[: len(good) // 2])
    life.put(second[0], "the same under another name.jpg")
    life.run("week 2")
    life.run("week 2 again")
    third = life.add(6)
    life.run("week 3, applied", "--pipelines=apply")
    life.run("week 3")
    life.run("week 3, applied again", "--pipelines=apply", params=f"apply.fit={life.fit_of('week 2')}")
    life.run("another limit", params="featurization.max_pixels=1000000")
    corrupted.write_bytes(good)
    life.run("mended")
    life.run("compacted", "--pipelines=maintenance", params="maintenance.keep_replaced_hours=0")
    forgotten = [third[0], *(first[2].parent.glob("*.jpg"))]
    label = first[2].parent.name
    life.run("forgotten", "--pipelines=forget", params=f"forget.paths={third[0]},forget.labels={label}")
    for path in forgotten:
        path.unlink(missing_ok=True)
    life.run("after all")
    life.images_forgotten = {f"file:{path}" for path in forgotten}
    return life


def counts(step: Step) -> tuple[int, int, int]:
    return tuple(step.report["counts"][name] for name in ("featurised", "quarantined", "unchanged"))


def test_only_what_is_new_is_done(life):
    done = {name: counts(step) for name, step in life.steps.items() if name not in ("compacted", "forgotten")}
    assert done == {
        "week 1": (20, 0, 0),
        "week 2": (14, 1, 17),
        "week 2 again": (0, 0, 32),
        "week 3, applied": (6, 0, 32),
        "week 3": (0, 0, 38),
        "week 3, applied again": (0, 0, 38),
        "another limit": (0, 1, 37),
        "mended": (1, 0, 37),
        "after all": (0, 0, len(life.steps["after all"].paths)),
    }


def test_every_image_counts_once_and_no_other(life):
    for name, step in life.steps.items():
        if name in ("forgotten", "compacted"):
            continue
        assert set(step.result.status.index) == step.paths, name
        assert step.result.status.index.is_unique
        bad = set(step.result.status.index[step.result.status["reason"].notna()])
        assert set(step.result.reduced.index) == step.paths - bad, name


def test_a_second_run_leaves_the_same_results(life):
    one, two = life.steps["week 2"], life.steps["week 2 again"]
    assert_same(two.result, one.result)
    pd.testing.assert_frame_equal(two.result.reduced, one.result.reduced)  # run and fit included
    assert life.fit_of("week 2 again") == life.fit_of("week 2")


def test_the_same_bytes_have_the_same_features(life):
    features = life.steps["week 2"].result.features
    (other,) = [path for path in features.index if path.endswith("the same under another name.jpg")]
    same = features[features["sha256"] == features.loc[other, "sha256"]]
    assert len(same) == 2
    np.testing.assert_array_equal(*same["features"])


def test_applied_projections_keep_their_axes(life):
    """New images come beside old ones whose coordinates do not move, and the fit is named in each row."""
    before, applied = (life.steps[name].result.reduced for name in ("week 2 again", "week 3, applied"))
    assert set(applied["fit"]) == {life.fit_of("week 2")}
    assert len(applied) == len(before) + 6
    found = np.stack(applied.loc[before.index, "pca_features"])
    np.testing.assert_allclose(found, np.stack(before["pca_features"]), rtol=0, atol=1e-9)
    again = life.steps["week 3, applied again"].result.reduced
    assert set(again["fit"]) == {life.fit_of("week 2")}
    np.testing.assert_allclose(np.stack(again["pca_features"]), np.stack(applied["pca_features"]), rtol=0, atol=1e-9)


def test_a_new_fit_says_how_far_its_axes_have_turned(life):
    compared = life.steps["week 3"].report["fit"]["compared"]
    assert compared["with"] == life.fit_of("week 2") != life.fit_of("week 3")
    assert 0 < compared["principal_angles"]["median"] <= compared["principal_angles"]["largest"] <= 90
    unchanged = life.steps["week 2 again"].report["fit"]["compared"]
    assert unchanged["principal_angles"]["largest"] < 1e-4


def test_bad_images_are_listed_and_counted(life):
    step = life.steps["week 2"]
    ((label, reasons),) = step.report["quarantine_labels"].items()
    assert reasons == {"truncated": 1}
    assert label in step.result.status["label"].to_numpy()
    assert counts(life.steps["week 2 again"])[1] == 0  # not tried again
    tables = life.output / "08_reporting"
    assert len(pd.read_csv(tables / "quarantine.csv")) == len(pd.read_parquet(tables / "quarantine.parquet")) == 0


def test_compaction_changes_nothing(life):
    assert_same(life.steps["compacted"].result, life.steps["mended"].result)


def test_forgotten_images_are_nowhere(life):
    for table in ("image_index", "labeled_images", "image_status", "reduced_features", "featurized_images"):
        assert not set(read(life.output, table)["path"]) & life.images_forgotten, table
    files = [path for path in life.output.rglob("*") if path.is_file() and "runs" not in path.parts]
    for name in life.images_forgotten:
        stem = "/".join(name.split("/")[-2:]).encode()  # as JSON and CSV have it
        assert not [path for path in files if stem in path.read_bytes() and path.suffix in (".json", ".csv")]
    forgotten = json.loads((life.output / "08_reporting" / "forgotten.json").read_text())
    assert forgotten["images"] == len(life.images_forgotten)
    assert forgotten["rows"]["reduced_features"] == len(life.images_forgotten)
    assert forgotten["rows"]["featurized_images"] >= len(life.images_forgotten)
    n = life.steps["after all"].report["fit"]["n_images"]
    assert n == life.steps["mended"].report["fit"]["n_images"] - len(life.images_forgotten)


def test_any_row_tells_its_origin(life):
    step = life.steps["mended"]
    path, row = next(step.result.reduced.iterrows())
    models, runs = life.output / "06_models", life.output / "08_reporting" / "runs"
    assert row["sha256"] == hashlib.sha256(Path(path.removeprefix("file:")).read_bytes()).hexdigest()
    encoder = json.loads((models / "encoders" / f"{row['encoder']}.json").read_text())
    fit = json.loads((models / "fits" / f"{row['fit']}.json").read_text())
    assert encoder["weights"] == "bundled"
    assert fit["encoder"] == row["encoder"]
    for run_id in (row["run_id"], row["features_run_id"], fit["run_id"]):
        kept = json.loads((runs / f"{run_id}.json").read_text())
        assert kept["status"] == "finished"
        assert {"git_commit", "parameters", "versions"} <= kept.keys()
    listed = pd.read_csv(life.output / "08_reporting" / "runs.csv")
    assert len(listed) == len(life.steps)
    assert set(listed["status"]) == {"finished"}


def test_a_fresh_start_gives_the_same(life, kedro, tmp_path):
    """However the images came: what counts is what is there."""
    shutil.copytree(life.output / "06_models" / "encoders", tmp_path / "06_models" / "encoders")
    done = kedro("run", f"--params=images={life.images},output={tmp_path},{LIMIT}")
    assert done.returncode == 0, done.stderr
    assert_same(result(life.output), result(tmp_path))
