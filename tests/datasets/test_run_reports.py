"""The report of every run stays, one file each."""

import json

import fsspec
import pytest

from fruits_pipeline.datasets import RunReportsDataset


@pytest.fixture(params=["local", "odd names", "memory"])
def folder(request, tmp_path):
    if request.param == "memory":
        yield "memory:///bucket/08_reporting/runs"  # Kedro drops the host of memory://host/path
        fsspec.filesystem("memory").store.clear()
    else:
        yield str(tmp_path / ("runs" if request.param == "local" else "a [b] é #1%20/runs/"))


def report(run_id: str, **more) -> dict:
    return {"run_id": run_id, "status": "finished", "counts": {"listed": 3}, **more}


def test_without_a_folder_there_are_no_reports(folder):
    dataset = RunReportsDataset(filepath=folder)
    assert dataset.load() == []
    assert not dataset.exists()


def test_reports_of_all_runs_oldest_first(folder):
    dataset = RunReportsDataset(filepath=folder)
    runs = [f"2026-11-{day}T00.00.00.000Z" for day in ("21", "09", "30")]
    for run_id in runs:
        dataset.save(report(run_id, error="Pêche jaune"))
    assert dataset.exists()
    assert dataset.load() == [report(run_id, error="Pêche jaune") for run_id in sorted(runs)]
    assert RunReportsDataset(filepath=folder).load() == dataset.load()


def test_a_later_report_of_the_same_run_takes_the_place_of_the_earlier(folder):
    dataset = RunReportsDataset(filepath=folder)
    dataset.save(report("1", status="started", seconds={"total": 1.0}))
    dataset.save(report("2"))
    dataset.save(report("1"))
    assert dataset.load() == [report("1"), report("2")]


def test_files_are_json_for_people_and_others_are_no_reports(tmp_path):
    dataset = RunReportsDataset(filepath=str(tmp_path))
    dataset.save(report("1", label="Pêche"))
    (tmp_path / "2.json.123.tmp").write_text("half")  # of a run that was killed while it wrote
    (tmp_path / "notes.txt").write_text("mine")
    assert dataset.load() == [report("1", label="Pêche")]
    text = (tmp_path / "1.json").read_text(encoding="utf-8")
    assert json.loads(text) == report("1", label="Pêche")
    assert "Pêche" in text
    assert text.startswith('{\n  "run_id": "1"')


def test_an_empty_folder_holds_no_reports(tmp_path):
    assert RunReportsDataset(filepath=str(tmp_path)).load() == []
