"""The rules of the house, walked over all pipelines, the catalog and the source, so that no new part can break them."""

import ast
import importlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

import fruits_pipeline
from fruits_pipeline.pipeline_registry import register_pipelines
from fruits_pipeline.settings import CONFIG_LOADER_ARGS
from fruits_pipeline.workers.contracts import ROW_RULES

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = Path(fruits_pipeline.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
PIPELINES = register_pipelines()
ROOMS = {
    path.parent.name: importlib.import_module(f"fruits_pipeline.pipelines.{path.parent.name}").create_pipeline()
    for path in sorted(SOURCE.glob("pipelines/*/pipeline.py"))
}
NODES = list({node.name: node for name in sorted(PIPELINES) for node in PIPELINES[name].nodes}.values())

VERBS = (
    "account build check choose clean collect compact compare compute convert count draw drop evaluate export extract "
    "featurize filter find fit index join keep label list load measure merge prepare project read reduce report "
    "sample select split summarise train transform write "
)
LAYERS = {"raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting"}


def catalog_config(env: str = "base") -> dict:
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env=env, **{**CONFIG_LOADER_ARGS, "default_run_env": env})
    entries: dict = loader["catalog"]
    return entries


def is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


# ---- pipelines and catalog -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_every_dataset_of_every_pipeline_is_declared(name):
    """Kedro makes a MemoryDataset of a name that it does not know: a typo would pass unseen."""
    used = {dataset for dataset in PIPELINES[name].datasets() if not is_parameter(dataset)}
    assert used - set(catalog_config()) == set()


def test_every_catalog_entry_is_used():
    used = set().union(*(pipeline.datasets() for pipeline in PIPELINES.values()))
    assert {name for name in catalog_config() if not name.startswith("_")} - used == set()


def test_no_catalog_entry_is_a_pattern_that_swallows_typos():
    assert [name for name in catalog_config() if "{" in name] == []


@pytest.mark.parametrize(
    "name", sorted(name for name in catalog_config() if name != "run" and not name.startswith("_"))
)
def test_every_catalog_entry_has_a_layer(name):
    assert catalog_config()[name]["metadata"]["kedro-viz"]["layer"] in LAYERS


def test_there_is_one_catalog():
    assert [path.parent.name for path in (PROJECT / "conf").rglob("catalog*")] == ["base"]


def test_other_environments_see_the_same_datasets():
    for env in sorted(path.name for path in (PROJECT / "conf").iterdir() if path.is_dir() and path.name != "local"):
        found = catalog_config(env)
        assert {name: entry["type"] for name, entry in found.items() if not name.startswith("_")} == {
            name: entry["type"] for name, entry in catalog_config().items() if not name.startswith("_")
        }


def test_all_datasets_can_be_made_from_the_catalog(tmp_path, monkeypatch):
    """No class path, no argument is misspelt; nothing is opened."""
    monkeypatch.chdir(tmp_path)
    catalog = DataCatalog.from_config({k: v for k, v in catalog_config().items() if not k.startswith("_")})
    for name in catalog_config():
        assert name.startswith("_") or catalog[name] is not None
    assert list(tmp_path.iterdir()) == []


def test_every_saved_table_has_its_contract():
    """Kedro applies `validator` when a table is saved; a Spark table without one is written unchecked."""
    entries = catalog_config()
    written = set().union(*(pipeline.all_outputs() for pipeline in PIPELINES.values()))
    kinds = ("CommittedTableDataset", "CommittedBatchesDataset", "SparkDatasetV2", "SparkDataset")
    tables = {name for name in written if entries[name]["type"].endswith(kinds)}
    assert {entries[name]["table"] for name in tables} == set(ROW_RULES)
    for name in tables:
        table = entries[name]["table"]
        assert (
            name.partition("@")[0].removeprefix("remaining_").replace("compacted_images", "featurized_images") == table
        )
        assert Path(entries[name]["filepath"]).name == table
        assert entries[name]["versioned"] is True  # or the run's id does not name what it writes
        assert entries[name]["validator"]["class"] == "fruits_pipeline.contracts.TableContract"
        assert entries[name]["validator"]["options"] == {"table": table}
        assert entries[name]["validator"]["on"] == "save"


def test_names_of_one_place_agree_on_what_is_there():
    """Some files have several names in the catalog, for those who read what the last run left and those who write."""
    places: dict[str, set[tuple]] = {}
    for entry in catalog_config().values():
        if "filepath" in entry:
            kind = entry["type"].replace("KeptFits", "Fit").replace("ExportedEncoders", "Encoder")
            places.setdefault(entry["filepath"], set()).add((kind, entry.get("table")))
    assert {place: kinds for place, kinds in places.items() if len(kinds) > 1} == {}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_node_names_are_verbs_and_name_their_function(node):
    """A function that several nodes share gives them its verb."""
    verb, function = node.name.partition("_")[0], node.func.__name__
    shared = len([other for other in NODES if other.func is node.func]) > 1
    assert verb in VERBS.split()
    assert function == node.name or (shared and function.startswith(f"{verb}_"))
    assert node.func.__doc__


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_node_names_are_unique_and_mean_one_thing(name):
    names = [node.name for node in PIPELINES[name].nodes]
    assert len(set(names)) == len(names)
    known = {node.name: node for node in NODES}
    for node in PIPELINES[name].nodes:
        same = known[node.name]
        assert (node.func, node.inputs, node.outputs) == (same.func, same.inputs, same.outputs)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_node_functions_are_named_and_belong_to_the_pipelines(node):
    assert node.func.__name__ != "<lambda>"
    assert node.func.__module__.startswith("fruits_pipeline.pipelines.")
    assert "return" in node.func.__annotations__


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_every_node_has_the_tag_of_its_room(name):
    assert {tag for node in ROOMS[name].nodes for tag in node.tags} == {name}


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_every_pipeline_consists_of_whole_rooms(name):
    """One of the same name, if there is one, and perhaps others, each node under the tag of its own."""
    rooms = {tag for node in PIPELINES[name].nodes for tag in node.tags}
    assert name in rooms or name == "__default__"
    nodes = {node for room in rooms for node in ROOMS[room].nodes}
    assert set(PIPELINES[name].nodes) == nodes


# ---- source ----------------------------------------------------------------------------------------------------------


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def bodies() -> dict[str, int]:
    """Lines of each function's body, without its docstring."""
    found = {}
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
                name = f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
                found[name] = node.end_lineno - statements[0].lineno + 1 if statements else 0
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.glob("pipelines/*/pipeline.py")), ids=lambda path: path.parent.name)
def test_pipelines_are_wiring_only(path):
    """One function that makes the pipeline, besides those that return one node; lists are of constants only."""
    tree = parsed(path)
    constants = {node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    walked = list(ast.walk(tree))
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 85
    assert not [node for node in walked if isinstance(node, ast.Lambda | ast.If | ast.IfExp | ast.For | ast.While)]
    loops = [node for node in walked if isinstance(node, ast.comprehension)]
    assert {ast.unparse(loop.iter) for loop in loops} <= {name for name in constants if name.isupper()}
    assert not [loop for loop in loops if loop.ifs]
    for name, function in functions.items():
        assert ast.unparse(function.returns) == ("Pipeline" if name == "create_pipeline" else "Node")
        assert name == "create_pipeline" or [type(line) for line in function.body[1:]] == [ast.Return]
    assert "create_pipeline" in functions
    assert not [node for node in tree.body if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)]


def test_there_are_pipelines_to_test():
    assert len(list(SOURCE.glob("pipelines/*/pipeline.py"))) == len(PIPELINES) - 1 > 4


def test_functions_are_short():
    lengths = bodies()
    assert {name: length for name, length in lengths.items() if length > 50} == {}
    assert statistics.median(lengths.values()) < 10
    assert sorted(lengths.values())[int(0.9 * len(lengths))] <= 25


def test_only_the_encoders_know_tensorflow():
    knowing = {
        path.relative_to(SOURCE).parts[0] for path in FILES if imports_of(path) & {"tensorflow", "keras", "tf2onnx"}
    }
    assert knowing == {"encoders"}


def test_nodes_touch_no_files_and_make_no_sessions():
    for path in SOURCE.glob("pipelines/*/nodes.py"):
        assert not imports_of(path) & {"fsspec", "boto3", "botocore", "s3fs", "pathlib", "os", "glob", "shutil"}, path
        assert "SparkSession" not in path.read_text(encoding="utf-8"), path


def test_the_cluster_names_its_master_itself():
    """Values set in code or in files beat spark-submit, so only the local environment has one."""
    masters = {
        path.parent.name: yaml.safe_load(path.read_text())["spark.master"] for path in PROJECT.glob("conf/*/spark.yml")
    }
    masters.pop("local", None)
    assert masters == {"base": "local[*,4]", "cloud": None}


# ---- what starts when ------------------------------------------------------------------------------------------------

PROBE = """
import json, sys
from pathlib import Path
import fruits_pipeline.pipeline_registry as registry
import fruits_pipeline.datasets, fruits_pipeline.hooks, fruits_pipeline.cli
pipelines = registry.register_pipelines()
pyspark = sys.modules.get("pyspark")
print(json.dumps({
    "heavy": sorted({"tensorflow", "keras", "onnxruntime", "tf2onnx", "onnx", "h5py", "pandas", "plotly"}
    & set(sys.modules)),
    "gateway": pyspark is not None and pyspark.SparkContext._gateway is not None,
    "children": Path("/proc/self/task").is_dir()
    and sum(len((task / "children").read_text().split()) for task in Path("/proc/self/task").iterdir()),
    "pipelines": sorted(pipelines),
}))
"""


def test_the_registry_loads_no_network_and_starts_no_jvm(tmp_path):
    """pandas and Plotly come later, too: half a second in which Java, which starts by then, needs the cores."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "heavy": [],
        "gateway": False,
        "children": 0,
        "pipelines": sorted(PIPELINES),
    }
