"""Where a Spark worker spends its time: `python tests/benchmarks/flame_graph.py`, or `make profile`.

Runs the pipeline on N images into a scratch folder, waits until a Python worker has loaded the network, attaches py-spy
to it until it ends, and writes a flame graph (SVG; open it in a browser). Frames of ONNX Runtime and Pillow, which are
C++ and C, are shown with --native.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import environment
import inputs
from cases import PROJECT, Bench
from processes import exclusive, find_descendants

OUTPUT = PROJECT / "data" / "08_reporting" / "worker_flame_graph.svg"
"""Results of runs in data/ are not in git."""

REFUSED = (
    "py-spy was not allowed to look into the worker: Linux lets only root, or the parent of a process, trace it. Run "
    "`make profile` as root, allow it until the next boot with `sudo sysctl kernel.yama.ptrace_scope=0`, or give a "
    "container the capability SYS_PTRACE (docker run --cap-add SYS_PTRACE)."
)


@dataclass(frozen=True)
class Asked:
    """The command line."""

    images: int
    images_folder: str
    weights: str
    output: Path
    scratch: Path
    native: bool
    rate: int


def parse(arguments: Sequence[str] | None) -> Asked:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=int, default=4000, metavar="N", help="how many images (4000)")
    add("--images-folder", default=inputs.RENDERED, metavar="DIR", help="photographs in folders by label (rendered)")
    add("--weights", default="random:42", metavar="FILE", help="Keras no_top file of MobileNetV2 1.0 (random:42)")
    add("--output", type=Path, default=OUTPUT, metavar="SVG", help=f"({OUTPUT.relative_to(PROJECT)})")
    add("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "fruits-bench", metavar="DIR")
    add("--native", action="store_true", help="also frames of C and C++ (slows the worker)")
    add("--rate", type=int, default=200, metavar="HZ", help="samples per second (200)")
    return Asked(**vars(parser.parse_args(arguments)))


def find_worker(root: int) -> int | None:
    """A descendant that has loaded ONNX Runtime and is not the driver itself: a worker that featurises."""
    return next((pid for pid in find_descendants(root) if pid != root and _has_network(pid)), None)


def _has_network(pid: int) -> bool:
    try:
        return "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def wait_for_worker(run: subprocess.Popen[bytes]) -> int:
    """Waits until there is such a worker.

    Raises:
        SystemExit: If the run ended before.
    """
    while run.poll() is None:
        worker = find_worker(run.pid)
        if worker:
            return worker
        time.sleep(0.1)
    raise SystemExit(f"The run ended (exit code {run.returncode}) before any worker had loaded the network.")


def record(worker: int, asked: Asked) -> None:
    """Samples a worker until it ends.

    Raises:
        SystemExit: If py-spy failed, above all because it may not trace the worker.
    """
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    command = [str(environment.PYTHON.with_name("py-spy")), "record", "--pid", str(worker), "--format", "flamegraph"]
    command += ["--rate", str(asked.rate), "--output", str(asked.output), *(["--native"] if asked.native else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if "ermission denied" in said or "not permitted" in said:
        raise SystemExit(REFUSED)
    if done.returncode != 0 or not asked.output.exists():
        raise SystemExit(f"py-spy failed (exit code {done.returncode}): {said.strip()[-1000:]}")


def profile(asked: Asked) -> None:
    """Runs the pipeline and watches one worker."""
    bench = Bench(asked.scratch.resolve(), asked.weights, asked.images_folder, cores=0, timeout=0)
    output = bench.output("profile", asked.images)
    shutil.rmtree(output, ignore_errors=True)
    run = subprocess.Popen(bench.kedro_run(bench.images(asked.images), output), cwd=PROJECT)
    try:
        record(wait_for_worker(run), asked)
        if run.wait() != 0:
            raise SystemExit(f"The run failed (exit code {run.returncode}); the flame graph may show half of it.")
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the flame graph and says where."""
    asked = parse(arguments)
    environment.ensure()
    with exclusive():
        profile(asked)
    print(f"{asked.output}: open it in a browser.")


if __name__ == "__main__":
    main()
