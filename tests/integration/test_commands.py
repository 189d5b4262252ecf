"""Commands that only look at the project start neither a JVM nor TensorFlow; parts of the pipeline run alone."""

import json
import shutil

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def traps(tmp_path):
    """A `java` and a `tensorflow` that leave a mark when they are started."""
    mark = tmp_path / "started"
    for name in ("tensorflow", "keras"):
        (tmp_path / "python" / name).mkdir(parents=True)
        (tmp_path / "python" / name / "__init__.py").write_text(f"open({str(mark)!r}, 'a').write('{name}')\n")
    java = tmp_path / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho java >> '{mark}'\nexit 1\n")
    java.chmod(0o755)
    return mark, {"JAVA_HOME": str(java.parents[1]), "PYTHONPATH": str(tmp_path / "python")}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["registry", "list"], "featurization"),
        (["registry", "describe", "pca"], "fit_pca"),
        (["catalog", "describe-datasets"], "reduced_features"),
        (["catalog", "list-patterns"], ""),
        (["--help"], "Commands"),
    ],
)
def test_looking_starts_nothing(kedro, traps, command, expected):
    mark, environment = traps
    done = kedro(*command, **environment)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert not mark.exists()


def test_a_run_springs_the_trap(kedro, traps, tmp_path):
    """Proof that the traps above can spring."""
    mark, environment = traps
    assert kedro("run", f"--params=output={tmp_path}", **environment).returncode != 0
    assert mark.exists()


def test_viz_shows_all_of_it_without_starting_anything(kedro, traps, tmp_path, project):
    """The graph that Kedro-Viz serves, as JSON."""
    mark, environment = traps
    saved = tmp_path / "viz"
    done = kedro("viz", "run", f"--save-file={saved}", "--no-browser", **environment)
    assert done.returncode == 0, done.stderr
    graph = json.loads((saved / "api" / "main").read_text())
    names = {node["name"] for node in graph["nodes"]}
    assert {"raw_images", "featurized_images", "reduced_features", "fit_pca", "scree_plot"} <= names
    assert graph["layers"] == [
        "raw",
        "intermediate",
        "primary",
        "feature",
        "models",
        "model_input",
        "reporting",
    ] or set(graph["layers"]) == {"raw", "intermediate", "primary", "feature", "models", "model_input", "reporting"}
    assert not mark.exists()


@pytest.mark.parametrize(
    "selection", ["--pipelines=scaling,pca", "--tags=pca,reporting", "--from-nodes=compute_moments"]
)
def test_parts_run_alone_on_what_is_there(kedro, sample_run, tmp_path, selection):
    output = shutil.copytree(sample_run.output, tmp_path / "output")
    shutil.rmtree(output / "05_model_input")
    done = kedro("run", selection, f"--params=images=/nowhere,output={output},pca.n_components=7")
    assert done.returncode == 0, done.stderr
    assert (output / "05_model_input" / "reduced_features" / "_SUCCESS").is_file()
