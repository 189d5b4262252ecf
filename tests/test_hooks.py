"""Checks before a run and the verdict after it."""

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset

from fruits_pipeline.datasets.run_reports import RunReportsDataset
from fruits_pipeline.errors import InputError, QuarantineError, Terminated
from fruits_pipeline.hooks import ProjectHooks, check_images, check_output, check_parameter_names, check_quarantine
from fruits_pipeline.parameters import PcaParameters
from fruits_pipeline.run_record import RunRecord


@pytest.mark.parametrize("name", ["images", "output", "encoder", "pca"])
def test_known_parameters_pass(name):
    check_parameter_names({name: 1})


@pytest.mark.parametrize(("name", "meant"), [("imges", "images"), ("encodr", "encoder"), ("feature", "featurization")])
def test_unknown_parameters_are_refused(name, meant):
    with pytest.raises(InputError, match=f"no parameter {name}.*mean {meant}"):
        check_parameter_names({name: 1})


@pytest.mark.parametrize(
    ("bad", "listed", "limit", "fails"),
    [
        (0, 0, 0.0, False),
        (0, 100, 0.0, False),
        (1, 100, 0.01, False),
        (2, 100, 0.01, True),
        (1, 99, 0.01, True),
        (29, 100, 0.29, False),
    ],
)
def test_quarantine_limit(bad, listed, limit, fails):
    counts = {"in_quarantine": bad, "listed": listed}
    if fails:
        with pytest.raises(QuarantineError, match=f"{bad} of {listed} images.*quarantine.csv"):
            check_quarantine(counts, limit)
    else:
        check_quarantine(counts, limit)


def test_images_folder(tmp_path):
    check_images(str(tmp_path))
    check_images("memory://bucket/images")
    with pytest.raises(InputError, match="does not exist"):
        check_images(str(tmp_path / "no"))


def test_output_folder_is_made(tmp_path):
    check_output(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_output_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written to.*output=DIR"):
        check_output(str(tmp_path / "file" / "x"))


# ---- the report that is kept of every run ----------------------------------------------------------------------------


@pytest.fixture
def reports(tmp_path):
    return RunReportsDataset(filepath=str(tmp_path / "runs"))


@pytest.fixture
def begun(reports):
    """The hooks of a run that has just begun."""
    hooks = ProjectHooks()
    parameters = MemoryDataset({"pca": PcaParameters(variance=0.9)}, copy_mode="assign")
    hooks._catalog = DataCatalog({"kept_report": reports, "parameters": parameters})
    hooks._record = RunRecord(run_id="r", git_commit="abc")
    hooks._keep_report("started")
    return hooks


def test_a_run_that_dies_leaves_what_its_rows_were_made_with(begun, reports):
    (report,) = reports.load()
    assert (report["run_id"], report["status"], report["git_commit"]) == ("r", "started", "abc")
    assert report["parameters"]["pca"]["variance"] == 0.9
    assert report["versions"]["numpy"]


def test_what_an_interrupt_broke_is_an_interruption(begun, reports):
    """Py4J fails of its own while it gives up the call that Ctrl-C has interrupted, and Kedro wraps that."""
    error = DatasetError("Failed while saving")
    error.__context__ = Terminated()
    begun.on_pipeline_error(error)
    (report,) = reports.load()
    assert report["status"] == "interrupted"
    assert "error" not in report
    assert not hasattr(error, "__notes__")  # the message is that of any other interruption


def test_a_failure_after_the_report_adds_to_it(begun, reports):
    begun.before_dataset_saved("kept_report", {"run_id": "r", "status": "finished", "counts": {"listed": 3}})
    begun.on_pipeline_error(ValueError("no figure"))
    (report,) = reports.load()
    assert (report["status"], report["error"]) == ("failed", "ValueError('no figure')")
    assert report["counts"] == {"listed": 3}
    assert report["parameters"]["pca"]["variance"] == 0.9
