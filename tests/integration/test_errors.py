"""What a person gets wrong: one message that names the cure, no stack trace, exit code other than 0."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fruits_pipeline.lock import NAME, LocalPlace, OutputLock

pytestmark = pytest.mark.slow


def fails(done, *words: str) -> None:
    """Asserts a short, clear failure."""
    assert done.returncode == 1, done.stderr
    error = done.stderr[done.stderr.rindex("Error: ") :]
    assert len(done.stderr.splitlines()) < 30, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("images=/nowhere/at all,output={tmp}", ["/nowhere/at all does not exist", "--params=images=DIR"]),
        ("images={file},output={tmp}", ["is a file, not a folder"]),
        ("output={file}/below", ["cannot be written to", "--params=output=DIR"]),
        ("imges=/tmp", ["no parameter imges", "Did you mean images?"]),
        ("pca.variance=0", ["pca.variance: Input should be greater than 0 (given: 0)"]),
        ("pca.variance=1.01,pca.n_components=0", ["pca.variance", "pca.n_components", "(given: 0)"]),
        ("pca.n_components=1281", ["pca.n_components", "1280", "(given: 1281)"]),
        ("encoder.alpha=1.4", ["encoder.alpha", "less than or equal to 1"]),
        ("encoder.wieghts=bundled", ["encoder.wieghts", "not permitted"]),
    ],
)
def test_wrong_parameters_fail_before_anything_starts(kedro, tmp_path, params, words):
    file = tmp_path / "a file"
    file.write_text("text")
    done = kedro("run", f"--params={params.format(tmp=tmp_path / 'out', file=file)}")
    fails(done, *words)
    assert "incubator" not in done.stderr  # the JVM's first word


def test_a_pipeline_that_does_not_exist_leaves_nothing_behind(kedro, tmp_path):
    """Java has been started by then, with a folder of PySpark's for its port."""
    done = kedro("run", "--pipelines=scalling", f"--params=output={tmp_path / 'out'}", TMPDIR=str(tmp_path))
    fails(done, "no pipeline scalling", "kedro registry list")
    assert "incubator" not in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_no_java(kedro, tmp_path):
    fails(kedro("run", f"--params=output={tmp_path}", JAVA_HOME=str(tmp_path), PATH="/usr/bin:/bin"), "Java", "JDK 17")


def test_no_images_at_all(kedro, tmp_path):
    (tmp_path / "images" / "Apple").mkdir(parents=True)
    (tmp_path / "images" / "Apple" / "readme.txt").write_text("soon")
    done = kedro("run", "--pipelines=ingestion,labeling", f"--params=images={tmp_path / 'images'},output={tmp_path}")
    fails(done, "No images found", "<label>")


def test_wrong_weights(kedro, sample_run, tmp_path):
    wrong = tmp_path / "weights é.h5"
    wrong.write_bytes(b"these are no weights")
    output = shutil.copytree(sample_run.output, tmp_path / "output")
    done = kedro("run", "--from-nodes=choose_encoder", f"--params=output={output},encoder.weights={wrong}")
    fails(done, "weights é.h5 does not hold weights", "encoder.weights=bundled")


def test_too_many_components(kedro, sample_run, tmp_path):
    output = shutil.copytree(sample_run.output, tmp_path / "output")
    done = kedro("run", "--pipelines=pca", f"--params=output={output},pca.n_components=1000")
    fails(done, "209 images", "at most 208")


def test_too_many_bad_images(kedro, sample_run, tmp_path):
    """The verdict comes after everything is written."""
    images = tmp_path / "images" / "Kiwi"
    images.mkdir(parents=True)
    for good in sorted((sample_run.images / "Kiwi").glob("[0-9]*.jpg"))[:3]:
        shutil.copy(good, images)
    (images / "text.jpg").write_text("not a picture")
    output = tmp_path / "output"
    shutil.copytree(sample_run.output / "06_models", output / "06_models")
    done = kedro("run", f"--params=images={tmp_path / 'images'},output={output}")
    fails(done, "1 of 4 images (25.0%)", "featurization.max_quarantined")
    assert (output / "08_reporting" / "run_report.json").is_file()
    assert len(list((output / "05_model_input" / "reduced_features").glob("run=*/_SUCCESS"))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to change user")
def test_unwritable_output(tmp_path):
    """Root may write everywhere, so the check runs as nobody."""
    from fruits_pipeline.errors import InputError
    from fruits_pipeline.hooks import check_output

    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    Path(tmp_path).chmod(0o755)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            check_output(str(locked / "04_feature"))
        except InputError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_ctrl_c_leaves_no_half_batch(sample_run, tmp_path):
    """Interrupted in the middle of the featurization: exit code 130, one message, nothing committed."""
    output = tmp_path / "output"
    shutil.copytree(sample_run.output / "06_models", output / "06_models")
    params = f"--params=images={sample_run.images},output={output},featurization.images_per_task=4"
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", params],
        cwd=sample_run.project,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    batches = output / "04_feature" / "featurized_images"
    deadline = time.monotonic() + 120
    while not list(batches.glob("batch=*/part-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log
    assert log.rstrip().endswith("run the same command again to continue.")
    assert "Traceback" not in log
    assert not list(batches.glob("batch=*/_SUCCESS"))
    assert not (output / "05_model_input").exists()


def test_a_second_run_on_the_same_output(kedro, tmp_path):
    lock = OutputLock(LocalPlace(tmp_path), str(tmp_path), "the first run")
    lock.acquire()
    try:
        done = kedro("run", f"--params=output={tmp_path}")
        fails(done, "run the first run", f"process {os.getpid()} ", "--params=output=DIR")
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [NAME]
    finally:
        lock.release()
