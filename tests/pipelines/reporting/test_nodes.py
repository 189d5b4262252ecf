"""What the reports say of a run, of all runs, and of the images in quarantine."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from fruits_pipeline.encoders.card import Encoder, EncoderCard
from fruits_pipeline.fits import ARRAYS, Fit, FitCard
from fruits_pipeline.parameters import PcaParameters, ReportingParameters
from fruits_pipeline.pipelines.reporting.nodes import (
    count_by_label,
    describe_pca,
    draw_component_scatter,
    draw_scree,
    list_quarantine,
    list_runs,
    write_run_report,
)
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.schemas import COLUMNS, struct_type

WHEN = datetime(2026, 11, 21, 12, tzinfo=UTC)
ENCODER = Encoder(EncoderCard("MobileNetV2", 0.35, "onnx", "random:1", "1" * 64), b"")
COLUMNS_OF_RUNS = [
    *("run_id", "status", "pipelines", "started_at", "seconds"),
    *("listed", "featurised", "quarantined", "unchanged", "in_quarantine"),
    *("encoder", "fit", "n_components", "git_commit", "error"),
]


def fit(ratio: list[float] = (0.5, 0.25, 0.2)) -> Fit:
    arrays = {name: np.array(ratio) for name in ARRAYS}
    return Fit(FitCard("f" * 16, "e" * 16, "an earlier run", 40, len(ratio), sum(ratio), compared={"axes": []}), arrays)


def table(spark, name: str, rows: list[dict]):
    known = {"length": 1, "modification_time": WHEN, "label": "x", "status": "unchanged", "run_id": "r"}
    values = [tuple({**known, **row}.get(column) for column in COLUMNS[name]) for row in rows]
    return spark.createDataFrame(values, struct_type(name))


def quarantine(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "reason"])


# ---- quarantine ------------------------------------------------------------------------------------------------------


def test_the_list_of_bad_images_is_the_same_in_both_files(spark, tmp_path):
    rows = [
        {"path": 'file:/b, "é".jpg', "reason": "truncated", "detail": "line 1\nline 2", "length": 7},
        {"path": "file:/good.jpg"},
        {"path": "file:/a.jpg", "reason": "empty", "label": "Pêche jaune", "run_id": "s"},
    ]
    one, other = list_quarantine(table(spark, "image_status", rows).repartition(3))
    pd.testing.assert_frame_equal(one, other)
    assert list(one.columns) == ["path", "label", "reason", "detail", "length", "run_id"]
    assert list(one["path"]) == ["file:/a.jpg", 'file:/b, "é".jpg']
    assert one.drop(columns="detail").iloc[0].to_dict() == {
        **{"path": "file:/a.jpg", "label": "Pêche jaune", "reason": "empty"},
        **{"length": 1, "run_id": "s"},
    }
    assert list(one["detail"].isna()) == [True, False]
    one.to_csv(tmp_path / "quarantine.csv", index=False)
    other.to_parquet(tmp_path / "quarantine.parquet")
    read = pd.read_parquet(tmp_path / "quarantine.parquet")
    assert list(read["detail"])[1] == list(pd.read_csv(tmp_path / "quarantine.csv")["detail"])[1] == "line 1\nline 2"


def test_no_bad_images_is_a_table_without_rows(spark):
    one, other = list_quarantine(table(spark, "image_status", [{"path": "file:/good.jpg"}]))
    assert len(one) == len(other) == 0
    assert list(one.columns) == ["path", "label", "reason", "detail", "length", "run_id"]
    assert count_by_label(one) == {}


def test_bad_images_are_counted_by_label_and_reason():
    rows = [("Apple", "empty"), ("Pêche", "empty"), ("Apple", "truncated"), ("Apple", "empty")]
    counts = count_by_label(quarantine(*rows))
    assert counts == {"Apple": {"empty": 2, "truncated": 1}, "Pêche": {"empty": 1}}
    assert json.loads(json.dumps(counts)) == counts


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_the_figures_show_the_variance_of_the_fit(spark):
    points = [{"path": f"file:/{i}.jpg", "label": "ab"[i % 2], "pca_features": [float(i), -1.0, 0.5]} for i in range(6)]
    scatter = draw_component_scatter(
        table(spark, "reduced_features", points), fit(), ReportingParameters(scatter_points=4)
    )
    assert sum(len(trace.x) for trace in scatter.data) == 4
    assert "50" in scatter.layout.xaxis.title.text
    scree = draw_scree(fit())
    assert any(np.allclose(trace.y[-1], value) for trace in scree.data for value in (0.95, 95))


PREPARED = """
import sys
{before}
from fruits_pipeline.pipelines.reporting.figures import prepare_figures
prepare_figures()
print("IPython" in sys.modules, "plotly.offline" in sys.modules)
import IPython
"""


@pytest.mark.parametrize(("before", "is_there"), [("", False), ("import IPython", True)])
def test_figures_are_prepared_without_ipython(before, is_there):
    """It takes a quarter of a second of every run; notebooks have it, and it can be imported later."""
    code = PREPARED.format(before=before)
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == f"{is_there} True"


def test_the_pca_is_described_by_its_fit():
    assert describe_pca(fit()) == {"n_components": 3, "variance_reached": pytest.approx(0.95)}
    assert describe_pca(fit([])) == {"n_components": 0, "variance_reached": 0.0}


# ---- the report of a run ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("spark")
def test_the_report_is_written_twice_and_names_fit_and_bad_labels():
    run = RunRecord("run 2", "cloud", ("apply",), "abc-dirty", WHEN, n_pending=5)
    counts = {"listed": 7, "featurised": 4, "quarantined": 1, "unchanged": 2, "in_quarantine": 2, "digest": "12"}
    bad = quarantine(("Apple", "empty"), ("Apple", "truncated"))
    parameters = {"pca": PcaParameters(variance=0.95)}
    latest, kept = write_run_report(counts, {"txt": 1}, bad, ENCODER, fit(), run, parameters)
    assert latest == kept
    assert latest["fit"] == fit().card.to_dict()
    assert (latest["run_id"], latest["status"], latest["env"], latest["pipelines"]) == (
        *("run 2", "finished", "cloud"),
        ["apply"],
    )
    assert (latest["git_commit"], latest["started_at"]) == ("abc-dirty", "2026-11-21T12:00:00+00:00")
    assert latest["counts"] == counts
    assert latest["quarantine_reasons"] == {"empty": 1, "truncated": 1}
    assert latest["quarantine_labels"] == {"Apple": {"empty": 1, "truncated": 1}}
    assert latest["pca"] == describe_pca(fit())
    assert json.loads(json.dumps(latest))["parameters"]["pca"]["variance"] == 0.95


# ---- the list of runs ------------------------------------------------------------------------------------------------


def summary(run_id: str, status: str, **more) -> dict:
    return {**RunRecord(run_id, started_at=WHEN, pipelines=("scaling", "pca")).summary(status), **more}


def finished(run_id: str) -> dict:
    counts = {"listed": 7, "featurised": 4, "quarantined": 1, "unchanged": 2, "in_quarantine": 2, "with_features": 5}
    return summary(
        run_id,
        "finished",
        seconds={"total": 12.5},
        counts=counts,
        encoder=ENCODER.card.to_dict(),
        fit=fit().card.to_dict(),
        pca=describe_pca(fit()),
    )


def test_every_run_has_a_line_the_latest_first(tmp_path):
    reports = [
        summary("1", "started", seconds={"total": 0.1}),
        finished("2"),
        summary("3", "failed", error="No images found, in any folder"),
        summary("4", "interrupted"),
        summary("5", "started"),
    ]
    runs = list_runs(reports, finished("5"))
    assert list(runs.columns) == COLUMNS_OF_RUNS
    assert dict(zip(runs["run_id"], runs["status"], strict=True)) == {
        "5": "finished",
        "4": "interrupted",
        "3": "failed",
        "2": "finished",
        "1": "died",
    }
    assert list(runs["run_id"]) == list("54321")
    runs.to_csv(tmp_path / "runs.csv", index=False)
    lines = (tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()
    when, fingerprint = "2026-11-21T12:00:00+00:00", ENCODER.card.fingerprint
    assert lines[1] == f"5,finished,scaling pca,{when},12.5,7,4,1,2,2,{fingerprint},{'f' * 16},3,,"
    assert lines[3] == f'3,failed,scaling pca,{when},,,,,,,,,,,"No images found, in any folder"'
    assert lines[5].startswith(f"1,died,scaling pca,{when},0.1,,")


def test_the_first_run_is_alone_in_its_list():
    runs = list_runs([], finished("1"))
    assert (list(runs["run_id"]), list(runs.columns)) == (["1"], COLUMNS_OF_RUNS)


def test_reports_of_versions_to_come_or_gone_are_listed_too():
    """What a report does not say stays empty; what else it says is left out."""
    old = {key: value for key, value in finished("1").items() if key not in ("fit", "pca")} | {"more": {"x": 1}}
    runs = list_runs([old], finished("2")).set_index("run_id")
    assert pd.isna(runs.loc["1", "fit"])
    assert pd.isna(runs.loc["1", "n_components"])
    assert runs.loc["2", "n_components"] == 3
    assert "more" not in runs.columns
