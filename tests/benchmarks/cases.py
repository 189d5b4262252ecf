"""The contenders: how each one is prepared, started and read."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environment
import fidelity
import inputs
import processes
from processes import Outcome

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
CONTENDERS = HERE / "contenders"
KEDRO = str(Path(sys.executable).parent / "kedro")
MARK = "RESULT "
FEW = 20
"""Images, or rows, of a job that is not measured."""

REDUCTION_NODES = ("compute_moments", "fit_scaler", "fit_pca", "keep_fit", "project_features")

Measured = dict[str, Any]


class ContenderError(Exception):
    """A contender did not do its job; the message says how it ended."""


@dataclass(frozen=True)
class Bench:
    """What all contenders of one invocation have in common.

    Attributes:
        scratch: Folder for images, features and outputs.
        weights: A Keras file, or `random:<seed>`.
        source: `rendered`, or a folder of photographs.
        cores: How many cores each contender has.
        timeout: Seconds for one contender.
    """

    scratch: Path
    weights: str
    source: str
    cores: int
    timeout: float

    def images(self, n: int) -> Path:
        """The n photographs."""
        return inputs.make_images(self.source, n, self.scratch)

    def output(self, contender: str, n: int) -> Path:
        """Where a contender writes."""
        return self.scratch / "output" / f"{contender}-{n}"

    def start(self, command: list[str]) -> Outcome:
        """Runs a command of this project alone on the machine."""
        settings = {"KEDRO_DISABLE_TELEMETRY": "1"}
        if command[0] != KEDRO:  # the workers of Spark, Daft and Ray must find what the scripts import
            settings |= {"PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{CONTENDERS}", "PYSPARK_PYTHON": command[0]}
        return processes.run(command, PROJECT, settings, self.timeout)

    def kedro_run(self, images: Path, output: Path, *more: str, params: tuple[str, ...] = ()) -> list[str]:
        """The command line of `kedro run` with these roots and these weights."""
        roots = (f"images={images}", f"output={output}", "encoder.alpha=1.0", f"encoder.weights={self.weights}")
        return [KEDRO, "run", *more, f"--params={','.join(roots + params)}"]

    def encoders(self, *params: str) -> Path:
        """The folder of an exported encoder, for the contenders that start with one.

        Args:
            params: Which encoder, besides these weights.

        Returns:
            `06_models/encoders` of a run on a few images, made at the first call.
        """
        output = self.output("-".join(["export", *params]), FEW)
        if not report_path(output).exists():
            few = inputs.make_images(inputs.RENDERED, FEW, self.scratch)
            expect_success(self.start(self.kedro_run(few, output, params=params)))
        return output / "06_models" / "encoders"


@dataclass(frozen=True)
class Contender:
    """One way to do a job.

    Attributes:
        title: For tables.
        scale: What N counts: `images`, `rows`, or nothing.
        prepare: Makes everything ready; not measured.
        command: What is started and measured.
        read: Turns its outcome into figures.
        by_default: Whether it runs unless others are asked for.
        writes_features: Whether its output has a folder `features` that can be counted and compared.
        warmed_up_by: Who does a small job before each measurement; without a name, the contender itself.
    """

    title: str
    scale: str
    prepare: Callable[[Bench, int], None]
    command: Callable[[Bench, int], list[str]]
    read: Callable[[Bench, int, Outcome], Measured]
    by_default: bool = True
    writes_features: bool = False
    warmed_up_by: str = ""


def expect_success(outcome: Outcome) -> None:
    """Makes sure that a process ended well.

    Raises:
        ContenderError: With the last lines of its log, if not.
    """
    if outcome.exit_code != 0:
        how = "took too long" if outcome.exit_code is None else f"exit code {outcome.exit_code}"
        words = [text.strip() for _, text in outcome.log if text.strip()]
        raise ContenderError(f"{how}: {' / '.join(words[-2:])[-500:] or 'it said nothing'}")


def read_result(bench: Bench, n: int, outcome: Outcome) -> Measured:
    """The line of a script in `contenders/`."""
    lines = [line for line in outcome.output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ContenderError("printed no result")
    measured: Measured = json.loads(lines[-1].removeprefix(MARK))
    return measured


# ---- ours ------------------------------------------------------------------------------------------------------------


def prepare_first(name: str) -> Callable[[Bench, int], None]:
    """No output folder."""
    return lambda bench, n: shutil.rmtree(bench.output(name, n), ignore_errors=True)


def prepare_warm(name: str, *params: str) -> Callable[[Bench, int], None]:
    """A fresh output folder with the exported encoder in it."""

    def prepare(bench: Bench, n: int) -> None:
        output = bench.output(name, n)
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(bench.encoders(*params), output / "06_models" / "encoders")

    return prepare


def prepare_again(bench: Bench, n: int) -> None:
    """The output of a finished run; made now if there is none."""
    if not report_path(bench.output("ours", n)).exists():
        prepare_warm("ours")(bench, n)
        expect_success(bench.start(bench.kedro_run(bench.images(n), bench.output("ours", n))))


def prepare_to_reduce_again(bench: Bench, n: int) -> None:
    """The output of a finished run, whose reduction is to be done again."""
    prepare_again(bench, n)
    forget_reduction(bench.output("ours", n))


def prepare_stored(bench: Bench, n: int) -> None:
    """Stored features, an encoder that gives them its name, and no reduction of them."""
    output = inputs.make_stored_features(n, bench.scratch)
    shutil.copytree(bench.encoders(), output / "06_models" / "encoders", dirs_exist_ok=True)
    forget_reduction(output)


def forget_reduction(output: Path) -> None:
    """Removes what would be taken for still good, because the features are the same."""
    (output / "06_models" / "moments.safetensors").unlink(missing_ok=True)
    shutil.rmtree(output / "05_model_input", ignore_errors=True)


def report_path(output: Path) -> Path:
    """Where the run report is."""
    return output / "08_reporting" / "run_report.json"


def run_ours(name: str, *params: str) -> Callable[[Bench, int], list[str]]:
    """`kedro run` as a user types it."""
    return lambda bench, n: bench.kedro_run(bench.images(n), bench.output(name, n), params=params)


def read_ours(name: str) -> Callable[[Bench, int, Outcome], Measured]:
    """Reads the run report. Keys that a version of the pipeline does not write are left out."""

    def read(bench: Bench, n: int, outcome: Outcome) -> Measured:
        report = json.loads(report_path(bench.output(name, n)).read_text())
        seconds = report.get("seconds", {})
        nodes = seconds.get("nodes", {})
        listed = report.get("counts", {}).get("listed")
        if listed != n:
            raise ContenderError(f"the report counts {listed} images, not {n}")
        return {
            "images": listed,
            "stages": nodes,
            "featurization_s": nodes.get("featurize_images"),
            "reduction_s": sum_of(nodes, REDUCTION_NODES),
            "components": report.get("pca", {}).get("n_components"),
            "workers": seconds.get("workers", {}),
            "report_peaks": report.get("peak_memory_mb", {}),
            "encoder": report.get("encoder", {}).get("fingerprint"),
        }

    return read


def sum_of(stages: dict[str, float], names: tuple[str, ...]) -> float | None:
    """Sum of those stages; None if one is missing."""
    return round(sum(stages[name] for name in names), 3) if set(names) <= stages.keys() else None


def run_reduction(bench: Bench, output: Path) -> list[str]:
    """`kedro run` of the two pipelines alone."""
    return bench.kedro_run(bench.images(FEW), output, "--pipelines=scaling,pca")


def read_node_times(bench: Bench, n: int, outcome: Outcome) -> Measured:
    """Seconds by node from the times at which Kedro's lines came: these pipelines write no report."""
    starts = [(second, found[1]) for second, text in outcome.log if (found := re.search(r"Running node: (\w+)", text))]
    ends = [second for second, _ in starts[1:]] + [outcome.wall_s]
    stages = {name: round(end - start, 3) for (start, name), end in zip(starts, ends, strict=True)}
    return {"stages": stages, "reduction_s": sum_of(stages, REDUCTION_NODES)}


# ---- others ----------------------------------------------------------------------------------------------------------


def script(name: str, *, peers: bool = False) -> Callable[[Bench, int], list[str]]:
    """A contender on images: `IMAGES OUTPUT CORES ENCODERS`, or for the notebook its weights."""

    def command(bench: Bench, n: int) -> list[str]:
        python = str(environment.PYTHON) if peers else sys.executable
        last = bench.weights if name == "notebook" else str(bench.encoders())
        images, output = str(bench.images(n)), str(bench.output(name, n))
        return [python, str(CONTENDERS / f"{name}.py"), images, output, str(bench.cores), last]

    return command


def reduction_script(name: str) -> Callable[[Bench, int], list[str]]:
    """A contender on stored features: `BATCH OUTPUT CORES`."""

    def command(bench: Bench, n: int) -> list[str]:
        batch = inputs.stored_batch(inputs.make_stored_features(n, bench.scratch))
        output = str(bench.output(name, n))
        return [sys.executable, str(CONTENDERS / f"{name}.py"), str(batch), output, str(bench.cores)]

    return command


def fresh(name: str) -> Callable[[Bench, int], None]:
    """An empty output folder."""

    def prepare(bench: Bench, n: int) -> None:
        shutil.rmtree(bench.output(name, n), ignore_errors=True)
        bench.output(name, n).mkdir(parents=True)

    return prepare


def nothing(bench: Bench, n: int) -> None:
    """No preparation."""


def on_images(title: str, name: str, *, peers: bool = False, warmed_up_by: str = "") -> Contender:
    """A script that makes features of images."""
    command = script(name, peers=peers)
    return Contender(
        title, "images", fresh(name), command, read_result, writes_features=True, warmed_up_by=warmed_up_by
    )


def on_rows(title: str, name: str) -> Contender:
    """A script that reduces stored features, which takes minutes even where there are few."""
    return Contender(title, "rows", fresh(name), reduction_script(name), read_result, warmed_up_by="reduction-ours")


def kedro(title: str, *arguments: str) -> Contender:
    """A command that starts no Spark."""
    return Contender(title, "", nothing, lambda bench, n: [KEDRO, *arguments], lambda bench, n, outcome: {})


def ours(title: str, name: str, *params: str, warm: bool = True, by_default: bool = True) -> Contender:
    """The whole pipeline into a fresh output folder."""
    prepare = prepare_warm(name, *params) if warm else prepare_first(name)
    return Contender(title, "images", prepare, run_ours(name, *params), read_ours(name), by_default)


CASES: dict[str, Contender] = {
    # Twenty images take the notebook minutes; the very first run of ours needs all that it does: TensorFlow, Spark.
    "notebook": on_images("the original notebook", "notebook", warmed_up_by="ours-first"),
    "ours-first": ours("ours, the very first run (export included)", "ours-first", warm=False),
    "ours": ours("ours, encoder already exported", "ours"),
    "ours-bfloat16": ours("ours, bfloat16", "ours-bfloat16", "encoder.precision=bfloat16", by_default=False),
    "ours-again": Contender(
        "ours again, nothing new to do", "images", prepare_again, run_ours("ours"), read_ours("ours")
    ),
    "ours-scaling-pca": Contender(
        "ours, scaling and pca only",
        "images",
        prepare_to_reduce_again,
        lambda bench, n: run_reduction(bench, bench.output("ours", n)),
        read_node_times,
    ),
    "bare-loop": on_images("bare loop (no Spark)", "bare_loop"),
    "daft": on_images("Daft (features only)", "with_daft", peers=True),
    "ray": on_images("Ray Data (features only)", "with_ray", peers=True),
    "sgemm": Contender(
        "sgemm limit",
        "images",
        nothing,
        lambda bench, n: [sys.executable, str(CONTENDERS / "sgemm.py"), str(bench.cores)],
        read_result,
    ),
    "reduction-ours": Contender(
        "ours (kedro run --pipelines=scaling,pca)",
        "rows",
        prepare_stored,
        lambda bench, n: run_reduction(bench, inputs.make_stored_features(n, bench.scratch)),
        read_node_times,
    ),
    "reduction-notebook": on_rows("the notebook's way", "reduction_notebook"),
    "reduction-mllib": on_rows("MLlib, one fit, vectors kept", "reduction_mllib"),
    "kedro-help": kedro("kedro --help", "--help"),
    "kedro-registry-list": kedro("kedro registry list", "registry", "list"),
}
"""All contenders by the name that `--contenders` takes, in the order in which they run."""


def needs_peers(names: list[str]) -> bool:
    """Whether a contender runs in the benchmarks' own environment."""
    return bool({"daft", "ray"} & set(names))


def measure(name: str, bench: Bench, n: int) -> Measured:
    """Prepares, runs and reads one contender once.

    Args:
        name: A key of `CASES`.
        bench: What all have in common.
        n: How many images or rows.

    Returns:
        `wall_s`, `stages`, `memory` and what else the contender reports.

    Raises:
        ContenderError: If it failed.
    """
    case = CASES[name]
    warm_up(case.warmed_up_by or name, bench)
    case.prepare(bench, n)
    outcome = bench.start(case.command(bench, n))
    expect_success(outcome)
    seen = {"wall_s": outcome.wall_s, "memory": outcome.memory, "processor": outcome.processor}
    measured = {**seen, **case.read(bench, n, outcome)}
    if case.writes_features:
        measured |= check_features(output_features(name, bench, n), bench.output("ours", n), n)
    if name == "ours-bfloat16" and report_path(bench.output("ours", n)).exists():
        outputs = (bench.output("ours", n), bench.output(name, n))
        measured["fidelity"] = fidelity.compare(*[fidelity.read_features(output) for output in outputs])
    return measured


def warm_up(name: str, bench: Bench) -> None:
    """Lets a contender do a small job, so that its programs come from memory, which they may leave within minutes.

    Raises:
        ContenderError: If it failed.
    """
    case = CASES[name]
    case.prepare(bench, FEW)
    expect_success(bench.start(case.command(bench, FEW)))


def output_features(name: str, bench: Bench, n: int) -> Path:
    """The folder with the features of a script; its output is named after its file."""
    return bench.output({"daft": "with_daft", "ray": "with_ray"}.get(name, name.replace("-", "_")), n) / "features"


def check_features(folder: Path, ours: Path, n: int) -> Measured:
    """Counts the features that a contender has written, and compares them with ours where we have been.

    Returns:
        `images`, and the largest difference of any feature from ours.

    Raises:
        ContenderError: If some are missing.
    """
    theirs = fidelity.read_plain_features(folder)
    if len(theirs) != n:
        raise ContenderError(f"{len(theirs)} images have features, not {n}")
    if not report_path(ours).exists():
        return {"images": n}
    try:
        return {"images": n, "difference_from_ours": fidelity.largest_difference(fidelity.read_features(ours), theirs)}
    except ValueError as error:
        raise ContenderError(str(error)) from error
