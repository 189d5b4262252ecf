"""The rules that the workers check: of any lists, whole or cut out of longer columns."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruits_pipeline.errors import ContractError
from fruits_pipeline.schemas import COLUMNS, arrow_schema
from fruits_pipeline.workers.contracts import ROW_RULES, CheckRows

NUMBERS = st.none() | st.sampled_from([0.0, 1.5, math.nan, math.inf, -math.inf])
LISTS = st.lists(st.none() | st.lists(NUMBERS, max_size=3), min_size=1, max_size=8)
REDUCED = {
    "path": "a",
    "label": "x",
    "sha256": "0" * 64,
    "encoder": "0" * 16,
    "features_run_id": "r",
    "fit": "1" * 16,
    "run_id": "r",
    "pca_features": [0.5],
}


def reduced(*changes: dict) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{**REDUCED, **change} for change in changes], arrow_schema("reduced_features"))


@settings(max_examples=300, deadline=None, database=None)
@given(LISTS, st.integers(0, 8))
def test_a_projection_is_finite_if_all_its_numbers_are(lists, start):
    """A batch may be a part of a longer one, whose values it then shares."""
    start = min(start, len(lists) - 1)
    rows = reduced(*({"pca_features": numbers} for numbers in lists)).slice(start)
    found = ROW_RULES["reduced_features"]["pca_features are finite"].holds(rows).fill_null(False).to_pylist()
    assert found == [
        numbers is not None and all(number is not None and math.isfinite(number) for number in numbers)
        for numbers in lists[start:]
    ]


def test_the_first_broken_row_is_named():
    check = CheckRows(iter, "reduced_features")
    good = reduced(*({"path": str(i)} for i in range(5)))
    bad = reduced({}, {"path": "é b", "pca_features": [math.nan]}, {"path": "c", "pca_features": None})
    rows = check(iter([good, bad]))
    assert next(rows).equals(good)
    words = "table reduced_features, column pca_features: not true that pca_features are finite: é b. Nothing"
    with pytest.raises(ContractError, match=words):
        next(rows)


def test_columns_are_put_in_order():
    rows = reduced({}).select([*reversed(COLUMNS["reduced_features"])])
    (checked,) = CheckRows(iter, "reduced_features")([rows])
    assert checked.schema == arrow_schema("reduced_features")
    assert checked.to_pylist() == [REDUCED]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (reduced({}).drop_columns(["fit"]), "expected columns path, label, .*, found path: string, label: string"),
        (reduced({}).append_column("more", pa.array([1])), "expected columns .* more: int64"),
        (reduced({}).set_column(7, "pca_features", pa.array([0.5])), "pca_features: double"),
        (reduced({}).set_column(1, "label", pa.array([{"a": 1}])), "label: struct"),
    ],
    ids=["missing", "unexpected", "no list", "no text"],
)
def test_wrong_columns(rows, words):
    with pytest.raises(ContractError, match=f"^Table reduced_features: .*{words}"):
        list(CheckRows(iter, "reduced_features")([rows]))


def test_no_rows_break_no_rule():
    for table in ROW_RULES:
        empty = pa.RecordBatch.from_pylist([], arrow_schema(table))
        assert list(CheckRows(iter, table)([empty])) == [empty]
