"""Commands that only look at the project start neither a JVM nor TensorFlow; parts of the pipeline run alone."""

import os
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(
    "selection", ["--pipelines=scaling,pca", "--tags=pca,reporting", "--from-nodes=compute_moments"]
)
def test_parts_run_alone_on_what_is_there(kedro, sample_run, tmp_path, selection):
    output = shutil.copytree(sample_run.output, tmp_path / "output")
    shutil.rmtree(output / "05_model_input")
    done = kedro("run", selection, f"--params=images=/nowhere,output={output},pca.n_components=7")
    assert done.returncode == 0, done.stderr
    assert len(list((output / "05_model_input" / "reduced_features").glob("run=*/_SUCCESS"))) == 1


def test_ipython_has_the_catalog(kedro, traps):
    """As in an activated environment: Kedro calls `ipython` by name."""
    mark, environment = traps
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    code = "print(sorted(pipelines), catalog['pca']._describe()['filepath'])"
    done = kedro("ipython", "-c", code, PATH=path, **environment)
    assert done.returncode == 0, done.stderr
    assert "'featurization'" in done.stdout
    assert "06_models/pca.safetensors" in done.stdout
    assert not mark.exists()
