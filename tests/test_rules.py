"""The rules of the house, walked over all pipelines, the catalog and the source, so that no new part can break them."""

import ast
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

import fruits_pipeline
from fruits_pipeline.pipeline_registry import register_pipelines
from fruits_pipeline.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = Path(fruits_pipeline.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
PIPELINES = register_pipelines()
NODES = PIPELINES["__default__"].nodes

VERBS = (
    "account build check clean collect compare compute convert count draw evaluate export extract featurize "
    "filter find fit index join label list load measure merge prepare project read reduce report sample select "
    "split summarise train transform write "
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
    entries, written = catalog_config(), PIPELINES["__default__"].all_outputs()
    tables = {
        name
        for name in written
        if entries[name]["type"].endswith(("SparkDatasetV2", "CommittedBatchesDataset", "SparkDataset"))
    }
    assert len(tables) > 4
    for name in tables:
        assert entries[name]["validator"]["options"] == {"table": name}
        assert entries[name]["validator"]["on"] == "save"


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_node_names_are_verbs_and_name_their_function(node):
    assert node.name.partition("_")[0] in VERBS.split()
    assert node.func.__name__ == node.name
    assert node.func.__doc__


def test_node_names_are_unique():
    names = [node.name for node in NODES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_node_functions_are_named_and_belong_to_the_pipelines(node):
    assert node.func.__name__ != "<lambda>"
    assert node.func.__module__.startswith("fruits_pipeline.pipelines.")
    assert "return" in node.func.__annotations__


@pytest.mark.parametrize("name", sorted(set(PIPELINES) - {"__default__"}))
def test_every_node_has_the_tag_of_its_pipeline(name):
    assert all(node.tags == {name} for node in PIPELINES[name].nodes)


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
    tree = parsed(path)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Lambda | ast.If | ast.For | ast.comprehension)]
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == ["create_pipeline"]


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


def test_no_master_in_committed_settings():
    """Values set in code or in files beat spark-submit."""
    for path in (PROJECT / "conf").rglob("spark*.yml"):
        if path.parent.name != "local":
            assert "spark.master" not in path.read_text(encoding="utf-8"), path


# ---- what starts when ------------------------------------------------------------------------------------------------

PROBE = """
import json, sys
from pathlib import Path
import fruits_pipeline.pipeline_registry as registry
import fruits_pipeline.datasets, fruits_pipeline.hooks, fruits_pipeline.cli
pipelines = registry.register_pipelines()
pyspark = sys.modules.get("pyspark")
print(json.dumps({
    "heavy": sorted({"tensorflow", "keras", "onnxruntime", "tf2onnx", "onnx", "h5py"} & set(sys.modules)),
    "gateway": pyspark is not None and pyspark.SparkContext._gateway is not None,
    "children": Path("/proc/self/task").is_dir()
    and sum(len((task / "children").read_text().split()) for task in Path("/proc/self/task").iterdir()),
    "pipelines": sorted(pipelines),
}))
"""


def test_the_registry_loads_no_network_and_starts_no_jvm(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "heavy": [],
        "gateway": False,
        "children": 0,
        "pipelines": sorted(PIPELINES),
    }
