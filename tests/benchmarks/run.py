"""Measures our pipeline beside the original notebook, a bare loop, Daft, Ray Data and MLlib.

    python tests/benchmarks/run.py --images 500 2000 --weights FILE.h5
    python tests/benchmarks/run.py --images 10000 --notebook-repeats 1 --weights FILE.h5

Contenders run in turn, each as a process of its own. Every measurement is added to results.json at once, and
RESULTS.md is made from it; another invocation adds to both. See tests/benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cases
import environment
import inputs
import processes
import records
import tables
from cases import CASES, Bench, ContenderError
from records import Record, Records

HERE = Path(__file__).resolve().parent
BY_DEFAULT = [name for name, case in CASES.items() if case.by_default]
SLOW = ("notebook", "reduction-notebook")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--images",
        type=int,
        nargs="*",
        default=[500, 2000, 10000],
        metavar="N",
        help="how many images (500 2000 10000)",
    )
    add("--rows", type=int, nargs="*", default=[100_000], metavar="N", help="how many stored features (100000)")
    add("--contenders", nargs="+", choices=CASES, default=BY_DEFAULT, metavar="NAME", help=", ".join(CASES))
    add("--repeats", type=int, default=3, metavar="R", help="runs of each contender, of which the median counts (3)")
    add("--notebook-repeats", type=int, metavar="R", help=f"runs of {' and '.join(SLOW)}, if others")
    add("--repeats-of", nargs="*", default=[], metavar="NAME=R", help="runs of single contenders")
    add("--images-folder", default=inputs.RENDERED, metavar="DIR", help="photographs in folders by label (rendered)")
    add("--weights", default="random:42", metavar="FILE", help="Keras no_top file of MobileNetV2 1.0 (random:42)")
    add("--cores", type=int, default=2, help="cores for each contender (2)")
    add(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()) / "fruits-bench",
        metavar="DIR",
        help="images, outputs",
    )
    add(
        "--results",
        type=Path,
        default=HERE / "results.json",
        metavar="FILE",
        help="raw measurements; RESULTS.md beside it",
    )
    add("--timeout", type=float, default=3600, metavar="S", help="seconds that one run may take (3600)")
    add("--render-only", action="store_true", help="write RESULTS.md from results.json and stop")
    return parser.parse_args(arguments)


def repeats(asked: argparse.Namespace) -> dict[str, int]:
    """How often each contender runs."""
    counts = dict.fromkeys(asked.contenders, asked.repeats)
    if asked.notebook_repeats is not None:
        counts |= {name: asked.notebook_repeats for name in SLOW if name in counts}
    for each in asked.repeats_of:
        name, _, count = each.partition("=")
        if name not in CASES or not count.isdigit():
            raise SystemExit(f"--repeats-of {each}: give NAME=R, where NAME is one of {', '.join(CASES)}.")
        if name in counts:
            counts[name] = int(count)
    return counts


def plan(asked: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Contender, N and repeat, in the order in which they run: all contenders once, then all again."""
    counts = repeats(asked)
    sizes = {"images": asked.images, "rows": asked.rows, "": [0]}
    for scale, ns in sizes.items():
        names = [name for name in CASES if name in counts and CASES[name].scale == scale]
        for n in ns:
            for repeat in range(max(counts.values(), default=0)):
                yield from ((name, n, repeat) for name in names if repeat < counts[name])


def use_cores(n: int) -> None:
    """Leaves this process and all that it starts n cores.

    Raises:
        SystemExit: If there are fewer.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < n:
        raise SystemExit(f"--cores {n}: this machine lets us use {len(allowed)}.")
    os.sched_setaffinity(0, allowed[:n])


def make_bench(asked: argparse.Namespace) -> Bench:
    """Everything that must be there before the first contender starts."""
    weights = asked.weights if asked.weights.startswith("random:") else str(Path(asked.weights).resolve())
    if not weights.startswith("random:") and not Path(weights).is_file():
        raise SystemExit(f"--weights {asked.weights}: there is no such file.")
    scratch = asked.scratch.resolve()
    if "," in f"{scratch}{weights}":
        raise SystemExit("--scratch and --weights may hold no comma: Kedro splits --params at them.")
    bench = Bench(scratch, weights, asked.images_folder, asked.cores, asked.timeout)
    shutil.rmtree(bench.scratch / "output", ignore_errors=True)  # never anything that older code made
    if cases.needs_peers(asked.contenders):
        environment.ensure()
    with processes.exclusive():
        make_inputs(bench, asked)
    return bench


def make_inputs(bench: Bench, asked: argparse.Namespace) -> None:
    """Images and stored features of all sizes."""
    scales = {CASES[name].scale for name in asked.contenders}
    inputs.make_images(inputs.RENDERED, 20, bench.scratch)
    for n in asked.images if "images" in scales else []:
        bench.images(n)
    for n in asked.rows if "rows" in scales else []:
        inputs.make_stored_features(n, bench.scratch)


def describe(asked: argparse.Namespace, bench: Bench) -> Record:
    """What one must know to do the same again."""
    images = asked.images_folder if asked.images_folder == inputs.RENDERED else Path(asked.images_folder).name
    weights = bench.weights if bench.weights.startswith("random:") else Path(bench.weights).name
    words = ["python", "tests/benchmarks/run.py", *hide_paths(sys.argv[1:])]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(words),
        "machine": records.describe_machine(asked.cores),
        "versions": records.describe_versions(),
        "images": images,
        "weights": weights,
        "commit": records.commit(cases.PROJECT),
    }


def hide_paths(words: list[str]) -> list[str]:
    """The folders of this machine mean nothing to a reader."""
    return [Path(word).name if "/" in word else word for word in words]


def measure_all(asked: argparse.Namespace, bench: Bench, store: Records) -> bool:
    """Runs everything that was asked for.

    Returns:
        Whether all went well.
    """
    invocation = store.begin(describe(asked, bench))
    all_well = True
    for name, n, repeat in plan(asked):
        key = {"invocation": invocation, "contender": name, "n": n, "repeat": repeat}
        try:
            measured = cases.measure(name, bench, n)
            print(f"{name:20} {n:7,} {measured['wall_s']:9.1f} s", file=sys.stderr, flush=True)
        except ContenderError as error:
            all_well, measured = False, {"failed": str(error)}
            print(f"{name:20} {n:7,}    failed: {error}", file=sys.stderr, flush=True)
        store.add({**key, **measured})
        write_page(store)
    return all_well


def write_page(store: Records) -> str:
    """Writes RESULTS.md beside the raw measurements, and returns it."""
    page = tables.render(store)
    store.path.with_name("RESULTS.md").write_text(page)
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes and prints."""
    asked = parse(arguments)
    store = Records.load(asked.results)
    all_well = True
    if not asked.render_only:
        use_cores(asked.cores)
        all_well = measure_all(asked, make_bench(asked), store)
    print(write_page(store))
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
