"""pandas, hidden from PyArrow until somebody imports it."""

import json
import subprocess
import sys

ARRAYS = """
import math

def nulls():
    values = pandas.Series([1.0, math.nan])
    days = pandas.Series(pandas.to_datetime(["2020-01-01", None]))
    kinds = pandas.Series(["a", None], dtype="category")
    return [pa.array(each).null_count for each in (values, days, kinds)]
"""


def run(code: str) -> list:
    """What a fresh interpreter prints last, as JSON."""
    code = f"import json, sys\nimport pyarrow as pa\n{ARRAYS}\n{code}"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))


HIDE = "from fruits_pipeline.workers.late_pandas import hide_pandas\nhide_pandas()\n"


def test_arrays_are_made_without_pandas():
    code = HIDE + "table = pa.table({'a': pa.array([1, None])})\nrows = table.to_pylist()\n"
    assert run(code + "print(json.dumps(['pandas' in sys.modules, len(rows)]))") == [False, 2]


def test_without_hiding_the_first_array_imports_pandas():
    """Or there would be nothing to hide; then `late_pandas` can go."""
    assert run("pa.array([1])\nprint(json.dumps(['pandas' in sys.modules]))") == [True]


def test_once_it_is_imported_pyarrow_knows_its_types():
    """A Series must not be taken for a list: its NaN means null."""
    expected = run("import pandas\nprint(json.dumps(nulls()))")
    assert run(HIDE + "pa.array([1])\nimport pandas\nprint(json.dumps(nulls()))") == expected == [1, 1, 1]


def test_importing_only_a_part_of_pandas_tells_pyarrow_too():
    assert run(HIDE + "import pandas.testing\nprint(json.dumps(nulls()))") == [1, 1, 1]


def test_pyarrow_may_ask_for_it_itself():
    assert run(HIDE + "pa.array([1]).to_pandas()\nimport pandas\nprint(json.dumps(nulls()))") == [1, 1, 1]


def test_what_is_imported_already_stays():
    assert run("import pandas\n" + HIDE + "print(json.dumps(nulls()))") == [1, 1, 1]


def test_asking_whether_there_is_pandas_imports_nothing_and_changes_nothing():
    code = HIDE + "import importlib.util\nfound = [bool(importlib.util.find_spec('pandas')), 'pandas' in sys.modules]\n"
    assert run(code + "import pandas\nprint(json.dumps([found, nulls()]))") == [[True, False], [1, 1, 1]]


def test_the_files_of_pandas_are_found_as_ever():
    code = HIDE + "import pandas, importlib.resources\nfiles = importlib.resources.files('pandas')\n"
    assert run(code + "print(json.dumps([files.joinpath('__init__.py').is_file()]))") == [True]


def test_without_pandas_there_is_none():
    hidden = "sys.meta_path = [finder for finder in sys.meta_path if 'fruits' in type(finder).__module__]\n"
    code = (
        HIDE
        + hidden
        + "try:\n    import pandas\nexcept ModuleNotFoundError as error:\n    print(json.dumps([str(error)]))"
    )
    assert run(code) == ["No module named 'pandas'"]
