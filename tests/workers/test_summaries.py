"""Numbers that add up, whatever the parts, and digests that any change changes and no reordering does."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruits_pipeline.schemas import COLUMNS, arrow_schema
from fruits_pipeline.workers.summaries import add_up, hash_of, named, summary_of

OWN = ["image_index", "featurized_images", "image_status", "reduced_features"]
"""The tables of whose rows more than the number is known."""

KEY = ("path", "label", "encoder", "run_id")
"""What makes a set of features what it is, in `image_status`."""

QUICK = settings(max_examples=150, deadline=None, database=None)


def batch_of(table: str, rows: list[dict]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, arrow_schema(table))


def status(*rows: tuple[str, str, str, str], reason: str | None = None, **more) -> list[dict]:
    return [{**dict(zip(KEY, row, strict=True)), "reason": reason, **more} for row in rows]


def projection(*rows: tuple[str, str, str, str], **more) -> list[dict]:
    return [
        {"path": path, "label": label, "encoder": encoder, "features_run_id": run, **more}
        for path, label, encoder, run in rows
    ]


def digest(rows: list[dict], table: str = "image_status") -> int:
    return summary_of(table, batch_of(table, rows))["digest"]


# ---- sums ------------------------------------------------------------------------------------------------------------

NAMES = st.none() | st.sampled_from(["a", "b", "file:/é 果/1.jpg"]) | st.text(max_size=4)
STRINGS = {table: [name for name, kind in COLUMNS[table].items() if kind == "string"] for table in OWN}


@st.composite
def parts_of_tables(draw):
    """A table, and the same rows in another order and in parts, some of them empty."""
    table = draw(st.sampled_from(OWN))
    rows = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(STRINGS[table], NAMES)), max_size=8))
    shuffled = draw(st.permutations(rows))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [shuffled[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    return table, rows, parts


@QUICK
@given(parts_of_tables(), st.data())
def test_the_summary_of_a_whole_is_the_sum_of_those_of_its_parts(case, data):
    table, rows, parts = case
    whole = summary_of(table, batch_of(table, rows))
    summaries = [summary_of(table, batch_of(table, part)) for part in parts]
    assert add_up(table, summaries) == whole
    middle = data.draw(st.integers(0, len(summaries)))
    assert add_up(table, [add_up(table, summaries[:middle]), add_up(table, summaries[middle:])]) == whole
    assert whole["rows"] == len(rows)
    for kind in ("status", "encoder", "run_id", "fit"):
        assert sum(named(whole, kind).values()) in (0, len(rows))


@QUICK
@given(parts_of_tables())
def test_slices_of_a_batch_are_parts_too(case):
    """Their columns have an offset."""
    table, rows, _ = case
    batch = batch_of(table, rows)
    for middle in range(len(rows) + 1):
        parts = [summary_of(table, batch.slice(0, middle)), summary_of(table, batch.slice(middle))]
        assert add_up(table, parts) == summary_of(table, batch)


@QUICK
@given(parts_of_tables())
def test_a_summary_goes_through_json_unchanged(case):
    """Sums of hashes are larger than 64 bits, and no floats."""
    table, rows, _ = case
    summary = summary_of(table, batch_of(table, [*rows, *[{"path": "x"}] * 20]))
    assert json.loads(json.dumps(summary)) == summary
    assert {type(number) for number in summary.values()} == {int}


def test_the_parts_are_not_changed_by_adding_them_up():
    parts = [{"rows": 1, "paths": 5}, {"rows": 2, "paths": 6}]
    assert add_up("image_index", parts) == {"rows": 3, "paths": 11}
    assert parts == [{"rows": 1, "paths": 5}, {"rows": 2, "paths": 6}]
    assert add_up("image_index", iter(parts)) == {"rows": 3, "paths": 11}


@pytest.mark.parametrize("table", ["raw_images", "labeled_images"])
def test_of_other_tables_only_the_number_of_rows_is_known(table):
    """Whatever their columns."""
    assert summary_of(table, batch_of(table, [{"path": "a"}] * 3)) == {"rows": 3}
    assert summary_of(table, pa.RecordBatch.from_pydict({"id": [1, 2]})) == {"rows": 2}
    assert add_up(table, []) == {"rows": 0}


# ---- what is known of which table ------------------------------------------------------------------------------------


def test_an_index_is_known_by_its_paths():
    rows = [{"path": "a", "length": 1}, {"path": "é", "length": 2}]
    assert summary_of("image_index", batch_of("image_index", rows)) == {"rows": 2, "paths": hash_of("a") + hash_of("é")}
    assert add_up("image_index", []) == {"rows": 0, "paths": 0}


def test_features_are_known_by_their_encoders_and_runs():
    origins = [("A", "1"), ("A", "2"), ("B", "2"), ("A", "2")]
    rows = [{"path": "same", "encoder": encoder, "run_id": run} for encoder, run in origins]
    expected = {"rows": 4, "encoder/A": 3, "encoder/B": 1, "run_id/1": 1, "run_id/2": 3}
    assert summary_of("featurized_images", batch_of("featurized_images", rows)) == expected
    assert add_up("featurized_images", []) == {"rows": 0}


def test_what_is_known_of_the_status_of_images():
    good = status(("a", "l", "A", "1"), status="featurised") + status(("b", "l", "A", "0"), status="unchanged")
    bad = status(("c", "l", "A", "1"), reason="empty", status="quarantined")
    assert summary_of("image_status", batch_of("image_status", good + bad)) == {
        "rows": 3,
        "paths": hash_of("a") + hash_of("b") + hash_of("c"),
        "status/featurised": 1,
        "status/unchanged": 1,
        "status/quarantined": 1,
        "encoder/A": 3,
        "with_features": 2,
        "digest": hash_of("a", "l", "A", "1") + hash_of("b", "l", "A", "0"),
    }
    assert add_up("image_status", []) == {"rows": 0, "paths": 0, "with_features": 0, "digest": 0}


def test_what_is_known_of_a_projection():
    rows = projection(("a", "l", "A", "1"), fit="f", run_id="9") + projection(("b", "m", "A", "1"), fit="g", run_id="9")
    assert summary_of("reduced_features", batch_of("reduced_features", rows)) == {
        "rows": 2,
        "fit/f": 1,
        "fit/g": 1,
        "digest": hash_of("a", "l", "A", "1") + hash_of("b", "m", "A", "1"),
    }
    assert add_up("reduced_features", []) == {"rows": 0, "digest": 0}


# ---- digests ---------------------------------------------------------------------------------------------------------

FEW = st.tuples(*[st.sampled_from(["a", "b"])] * 4)
"""Few enough for the same rows, or the same values in other rows, to come up."""

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4)


@QUICK
@given(st.lists(FEW, max_size=4), st.lists(FEW, max_size=4))
def test_two_sets_of_features_have_the_same_digest_if_and_only_if_they_are_the_same(some, others):
    assert (digest(status(*some)) == digest(status(*others))) == (Counter(some) == Counter(others))


@QUICK
@given(st.lists(FEW, max_size=6).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_a_digest_does_not_depend_on_the_order(case):
    rows, shuffled = case
    assert digest(status(*rows)) == digest(status(*shuffled))
    assert digest(projection(*rows), "reduced_features") == digest(projection(*shuffled), "reduced_features")


@pytest.mark.parametrize("table", ["image_status", "reduced_features"])
@QUICK
@given(st.lists(st.tuples(*[WORDS] * 4), min_size=1, max_size=5), st.data())
def test_any_change_of_a_set_of_features_changes_its_digest(table, rows, data):
    make = status if table == "image_status" else projection
    before = digest(make(*rows), table)
    place = data.draw(st.integers(0, len(rows) - 1))
    row = rows[place]
    assert digest(make(*rows[:place], *rows[place + 1 :]), table) != before
    assert digest(make(*rows, row), table) != before
    for column in range(4):
        changed = (*row[:column], data.draw(WORDS.filter(row[column].__ne__)), *row[column + 1 :])
        assert digest(make(*rows[:place], changed, *rows[place + 1 :]), table) != before


@pytest.mark.parametrize("column", range(1, 4))
def test_values_that_are_exchanged_between_images_change_the_digest(column):
    first, second = list("abcd"), list("efgh")
    before = digest(status(tuple(first), tuple(second)))
    first[column], second[column] = second[column], first[column]
    assert digest(status(tuple(first), tuple(second))) != before


@QUICK
@given(st.lists(FEW, max_size=4), st.lists(FEW, max_size=4), st.text(max_size=3))
def test_quarantine_plays_no_part_in_a_digest(good, bad, reason):
    rows = status(*good) + status(*bad, reason=reason)
    assert digest(rows) == digest(status(*good))
    summary = summary_of("image_status", batch_of("image_status", rows))
    assert (summary["with_features"], summary["rows"]) == (len(good), len(good) + len(bad))
    assert summary["paths"] == sum(hash_of(path) for path, *_ in good + bad)


@QUICK
@given(st.lists(st.tuples(*[NAMES] * 4), max_size=5))
def test_features_and_their_projection_have_the_same_digest(rows):
    features = status(*rows, status="featurised", detail="x", length=3)
    projected = projection(*rows[::-1], fit="f", run_id="another", sha256="0", pca_features=[1.0])
    assert digest(features) == digest(projected, "reduced_features")


def test_what_does_not_make_features_others_plays_no_part_in_a_digest():
    row = ("a", "l", "A", "1")
    assert digest(status(row, status="featurised", length=1)) == digest(status(row, status="unchanged", length=2))
    here, there = projection(row, fit="f", run_id="1"), projection(row, fit="g", run_id="2", pca_features=[0.5])
    assert digest(here, "reduced_features") == digest(there, "reduced_features")


# ---- hashes and names ------------------------------------------------------------------------------------------------


def test_hashes_stay_what_they_are():
    """They stand in the marks of tables that are there already."""
    assert hash_of("a") == 4681665781835383343
    assert hash_of("file:/a/é.jpg", "Pomme", None, "2026") == 8998266702216437580


def test_hashes_have_64_bits():
    hashes = {hash_of(str(number)) for number in range(5000)}
    assert len(hashes) == 5000
    assert all(0 <= value < 2**64 for value in hashes)
    for bit in range(64):
        assert 2000 < sum(value >> bit & 1 for value in hashes) < 3000


def test_values_do_not_run_into_each_other():
    spellings = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        ("abc", None),
        (None, "abc"),
        ("a", "b", "c"),
        ("c", "ab"),
        (" ab", "c"),
    ]
    assert len({hash_of(*values) for values in spellings}) == len(spellings)


def test_numbers_are_found_by_their_kind():
    summary = {
        "rows": 3,
        "run_id/1": 1,
        "run_id/a/b": 2,
        "run_id/run_id/x": 4,
        "run_id/": 5,
        "run_id_of/1": 6,
        "encoder/1": 7,
    }
    assert named(summary, "run_id") == {"1": 1, "a/b": 2, "run_id/x": 4, "": 5}
    assert named(summary, "encoder") == {"1": 7}
    assert named(summary, "fit") == named({}, "run_id") == {}
