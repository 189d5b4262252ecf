"""The notebooks run from top to bottom on the results of a run, make no noise, and tell the truth."""

import base64
import csv
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pyarrow.dataset as ds
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

PROJECT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
EXPLORE = PROJECT / "notebooks" / "01_explore_features.ipynb"
KERNEL = "kedro_fruits_pipeline"
MACHINE_PATH = re.compile(r"/(home|Users|root|tmp|mnt|var|private)/|file:/|[A-Z]:\\")

# Run after the notebook's last cell, in its own kernel.
VALUES = """
import json
values = dict(n=len(X), labels=len(names), agreement=agreement, blind=blind, thumbnails=thumbnails, points=len(points),
              nearest=[paths[i] for i in near[:, 0]], paths=paths, mistaken=len(mistaken), near=near.shape,
              encoder=encoder["fingerprint"], made=made.count())
print(json.dumps(values, default=float))
"""
# The cell that takes the sample once more, with other parameters.
LIMITED = """
import json
SAMPLE, SEED = {sample}, {seed}
{cell}
print(json.dumps(paths))
"""


@dataclass(frozen=True)
class Executed:
    """A notebook after execution, and what was read back from its kernel."""

    notebook: NotebookNode
    values: dict
    limited: list[list[str]]

    def text(self, cell_id):
        return "".join(out.text for out in cell(self.notebook, cell_id).outputs if out.output_type == "stream")

    def picture(self, cell_id):
        pngs = [
            out.data["image/png"] for out in cell(self.notebook, cell_id).outputs if "image/png" in out.get("data", {})
        ]
        assert len(pngs) == 1, f"{cell_id} shows {len(pngs)} figures"
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(pngs[0]))).convert("RGB"))


def cell(notebook, cell_id):
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def execute(notebook, kernel, folder, **environment):
    """Runs a notebook in a kernel process of its own, without this process' Spark settings.

    ipykernel also looks for pytest's variable: where it finds it, what Java writes does not reach the notebook.
    """
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYSPARK_", "PYTEST_"))}
    client = NotebookClient(notebook, timeout=300, kernel_name=kernel, resources={"metadata": {"path": str(folder)}})
    return client.execute(env={**environ, **environment})


@pytest.fixture(scope="module")
def jupyter(kedro, tmp_path_factory):
    """The project's kernel as `kedro jupyter` installs it, but in a folder of this test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("jupyter")))
        made = kedro("jupyter", "setup")
        assert made.returncode == 0, made.stderr
        yield


@pytest.fixture(
    scope="module",
    params=[(KERNEL, PROJECT / "notebooks"), ("python3", PROJECT)],
    ids=["project kernel in notebooks/", "plain kernel in the project"],
)
def explored(request, jupyter, sample_run):
    kernel, folder = request.param
    notebook = nbformat.read(EXPLORE, as_version=4)
    take = cell(notebook, "sample").source
    limits = [{"sample": 5, "seed": 0}, {"sample": 5, "seed": 0}, {"sample": 5, "seed": 1}]
    extra = [VALUES, *[LIMITED.format(cell=take, **limit) for limit in limits]]
    notebook.cells += [new_code_cell(source) for source in extra]
    execute(notebook, kernel, folder, FRUITS_IMAGES=str(sample_run.images), FRUITS_OUTPUT=str(sample_run.output))
    values, *limited = [json.loads(cell.outputs[-1].text.splitlines()[-1]) for cell in notebook.cells[-len(extra) :]]
    notebook.cells = notebook.cells[: -len(extra)]
    return Executed(notebook, values, limited)


@pytest.fixture(scope="module")
def report(sample_run):
    return json.loads((sample_run.output / "08_reporting" / "run_report.json").read_text(encoding="utf-8"))


# ---- as committed ----------------------------------------------------------------------------------------------------


def test_there_are_notebooks_and_each_one_is_executed_here():
    assert NOTEBOOKS == [EXPLORE], "execute the new notebook in this file, too"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_committed_notebook_is_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for one in notebook.cells:
        if one.cell_type == "code":
            assert one.outputs == [], one.id
            assert one.execution_count is None, one.id
        assert set(one.metadata) <= {"tags"}, one.id
    assert notebook.metadata.kernelspec.name == KERNEL
    text = path.read_text(encoding="utf-8")
    assert MACHINE_PATH.search(text) is None
    assert str(PROJECT) not in text


@pytest.mark.parametrize("text", ["/home/jo/x", "/Users/jo/x", "x=/tmp/o2", "/mnt/disk/x", "file:/data/a.jpg", "C:\\x"])
def test_machine_paths_are_recognised(text):
    assert MACHINE_PATH.search(text)


# ---- as executed -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_cell_runs_and_none_makes_noise(explored):
    code = [one for one in explored.notebook.cells if one.cell_type == "code"]
    assert all(one.execution_count for one in code)
    outputs = [(one.id, output) for one in code for output in one.outputs]
    assert {output.output_type for _, output in outputs} <= {"stream", "display_data", "execute_result"}
    assert {output.name for _, output in outputs if output.output_type == "stream"} == {"stdout"}
    said = "".join(output.text for _, output in outputs if output.output_type == "stream")
    assert not re.search(r"warn|INFO|Traceback|\x1b", said, re.IGNORECASE)
    blank = [one_id for one_id, output in outputs if output.get("data", {}).get("text/plain") == ""]
    assert not blank
    assert {one.id for one in code if not one.outputs} == {"parameters", "setup"}


@pytest.mark.slow
def test_it_says_what_was_made_and_by_what(explored, report):
    text = explored.text("made")
    counts = report["counts"]
    assert report["run_id"] in text
    assert report["encoder"]["fingerprint"] in text
    assert f"{counts['listed']:,} listed, {counts['with_features']:,} with features" in text
    assert f"reduced_features {counts['with_features']:,}" in text
    assert f"{report['pca']['n_components']:,} of 1,280 features hold {report['pca']['variance_reached']:.1%}" in text
    assert explored.values["encoder"] == report["encoder"]["fingerprint"]
    assert explored.values["made"] == 1


@pytest.mark.slow
def test_sample_holds_all_images_of_a_small_run(explored, report):
    values = explored.values
    assert values["n"] == values["points"] == len(set(values["paths"])) == report["counts"]["with_features"]
    assert values["labels"] == len({path.split("/")[-2] for path in values["paths"]})


@pytest.mark.slow
def test_sample_has_a_limit_and_follows_its_seed(explored):
    first, again, other = explored.limited
    assert len(first) == len(other) == 5
    assert first == again != other


@pytest.mark.slow
def test_nearest_neighbours_are_those_of_scikit_learn(explored, sample_run):
    batches = sorted((sample_run.output / "04_feature" / "featurized_images").glob("batch=*"))
    rows = ds.dataset([str(file) for batch in batches for file in batch.glob("*.parquet")]).to_table().to_pylist()
    rows = [row for row in rows if row["features"] is not None]
    paths, labels = [row["path"] for row in rows], np.array([row["label"] for row in rows])
    standardised = StandardScaler().fit_transform(np.array([row["features"] for row in rows], dtype=np.float64))
    found = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(standardised).kneighbors(standardised)[1]
    nearest = [next(i for i in pair if i != row) for row, pair in enumerate(found)]

    values = explored.values
    expected = {paths[row]: paths[i] for row, i in enumerate(nearest)}
    assert dict(zip(values["paths"], values["nearest"], strict=True)) == expected
    agreement = np.mean(labels[nearest] == labels)
    assert values["agreement"] == pytest.approx(agreement)
    assert values["mistaken"] == np.sum(labels[nearest] != labels)
    text = explored.text("agreement")
    assert f"same label: {agreement:.1%} of {len(rows):,} images" in text
    assert f"{values['thumbnails']:.1%}" in text
    assert 0 < values["blind"] < values["thumbnails"] <= 1


@pytest.mark.slow
def test_every_figure_is_there(explored):
    for cell_id in ("values", "heat", "variance", "map"):
        assert count_colours(explored.picture(cell_id)) > 20, f"{cell_id} is empty"


@pytest.mark.slow
def test_neighbours_are_shown_as_photographs(explored):
    assert explored.values["near"] == [explored.values["n"], 7]
    rows = min(6, explored.values["labels"])
    assert count_photographs(explored.picture("neighbours"), rows) == 8 * rows
    rows = min(4, explored.values["mistaken"])
    if rows:
        assert count_photographs(explored.picture("agreement"), rows) == 8 * rows


def count_photographs(figure, rows):
    """How many of the tiles of a figure of `rows` × 8 hold more than white paper, letters and a gray square."""
    tiles = [tile for band in np.array_split(figure, rows) for tile in np.array_split(band, 8, axis=1)]
    return sum(count_colours(tile) > 1000 for tile in tiles)


def count_colours(pixels):
    return len(np.unique(pixels.astype(np.uint32) @ [1, 256, 65536]))


def test_photographs_are_told_from_gray_squares():
    photograph = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    gray = np.full_like(photograph, 224)
    assert count_photographs(np.concatenate([photograph] * 3 + [gray] * 5, axis=1), rows=1) == 3


@pytest.mark.slow
def test_quarantine_is_shown(explored, sample_run, report):
    with (sample_run.output / "08_reporting" / "quarantine.csv").open(encoding="utf-8", newline="") as file:
        bad = list(csv.DictReader(file))
    assert bad, "the sample has broken images"
    text, (table,) = explored.text("quarantine"), cell(explored.notebook, "quarantine").outputs[1:]
    assert f"In quarantine: {len(bad):,} of {report['counts']['listed']:,} images" in text
    for row in bad:
        assert f"{row['reason']}: " in text
        assert all(row[column] in table.data["text/html"] for column in ("path", "label", "reason", "length"))


@pytest.mark.slow
def test_without_a_finished_run_it_says_how_to_make_one(jupyter, tmp_path):
    notebook = nbformat.read(EXPLORE, as_version=4)
    with pytest.raises(CellExecutionError, match=r"There is no finished run in \S+/nothing\. Start one: `make run`"):
        execute(notebook, KERNEL, PROJECT, FRUITS_OUTPUT=str(tmp_path / "nothing"))
