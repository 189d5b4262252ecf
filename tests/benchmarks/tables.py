"""RESULTS.md, made of nothing but the raw measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import fidelity
from cases import CASES
from records import Key, Record, Records
from targets import TARGETS

Row = Sequence[str]

FEATURES_ONLY = ("bare-loop", "daft", "ray")
ACROSS = "†"
"""Marks a ratio of figures from two invocations, which did not run in turn."""


def render(records: Records) -> str:
    """The whole page."""
    medians = records.medians()
    parts = [HEADER, *_targets(medians), *_image_sections(medians), *_scaling(medians)]
    parts += [*_row_section(medians), *_command_section(medians), *_invocations(records)]
    return "\n\n".join(parts) + "\n"


DISTURBED = "‡"

HEADER = f"""# Benchmark results

Written by `make bench` (`tests/benchmarks/run.py`) from `results.json`; do not edit. How to run it, what each row is
and how fair it is: [README.md](README.md). All times are medians of wall-clock seconds from the start of a process to
its exit; contenders ran in turn, one at a time. `–`: not measured, or no such thing. {ACROSS}: the two figures of this
ratio come from different invocations. {DISTURBED}: something else on the machine took more than 5 % of the processors'
time (and more than 2 s); do not trust this row."""


def markdown(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def number(value: float | None, form: str = ",.1f") -> str:
    """A number, or a dash."""
    return "–" if value is None else format(value, form)


def ratio(top: Record | None, bottom: Record | None, name: str, form: str = ".1f") -> str:
    """How many times larger a figure of one record is than that of another."""
    if not top or not bottom or not top.get(name) or not bottom.get(name):
        return "–"
    mark = "" if top["invocation"] == bottom["invocation"] else f" {ACROSS}"
    return f"{format(top[name] / bottom[name], form)}{mark}"


def per_second(record: Record, name: str) -> str:
    """Images per second over a stage, or over the whole job."""
    speed = record["n"] / record[name] if record.get(name) else None
    return number(speed, ",.0f" if speed and speed >= 10 else ".1f")


def disturbed(record: Record) -> str:
    """A mark where something else took more than a twentieth of the processors' time in the median run."""
    processor = record.get("processor", {})
    lost = processor.get("others", 0) + processor.get("stolen", 0)
    return f" {DISTURBED}" if lost > max(2.0, 0.05 * (lost + processor.get("own", 0))) else ""


def good(record: Record | None) -> Record | None:
    """The record, unless it is a failure."""
    return None if record is None or "failed" in record else record


# ---- images ----------------------------------------------------------------------------------------------------------


def _image_sections(medians: dict[Key, Record]) -> list[str]:
    sizes = sorted({n for name, n in medians if CASES[name].scale == "images"})
    parts: list[str] = []
    for n in sizes:
        found = {name: medians[name, n] for name in CASES if (name, n) in medians and CASES[name].scale == "images"}
        parts += [f"## {n:,} images", _end_to_end(found), *_stages(found), _memory(found), *_fidelity(found)]
        parts += [f"`{name}` failed: {record['failed']}" for name, record in found.items() if "failed" in record]
    return parts


def _end_to_end(found: dict[str, Record]) -> str:
    head: Row = (
        "",
        "end to end s",
        "(min – max)",
        "runs",
        "images/s",
        "× notebook",
        "÷ Daft",
        "featurization s",
        "images/s",
    )
    head = (*head, "× notebook", "% of bare loop", "% of sgemm", "reduction s", "× notebook")
    rows = [_job_row(name, record, found) for name, record in found.items() if name != "sgemm" and good(record)]
    limit = good(found.get("sgemm"))
    note = f"sgemm: {limit['gflops']:.0f} GFLOP/s, {limit['limit_images_per_s']:.0f} images/s at most." if limit else ""
    return f"{markdown(head, rows)}\n\n{note}".strip()


def _job_row(name: str, record: Record, found: dict[str, Record]) -> Row:
    notebook, loop, limit = (good(found.get(other)) for other in ("notebook", "bare-loop", "sgemm"))
    stage = record.get("featurization_s") if name != "ours-again" else None
    of_loop = 100 * loop["featurization_s"] / stage if loop and stage else None
    of_limit = 100 * record["n"] / stage / limit["limit_images_per_s"] if limit and stage else None
    part = name in ("ours-scaling-pca", "ours-again")
    timed = {**record, "featurization_s": stage}
    return (
        f"**{CASES[name].title}**" if name == "ours" else CASES[name].title,
        f"{number(record['wall_s'])}{disturbed(record)}",
        f"{record['wall_min']:,.1f} – {record['wall_max']:,.1f}",
        str(record["repeats"]),
        "–" if part else per_second(record, "wall_s"),
        "–" if part or name in FEATURES_ONLY else ratio(notebook, record, "wall_s"),
        "–" if part else ratio(record, good(found.get("daft")), "wall_s", ".2f"),
        number(stage),
        per_second(timed, "featurization_s"),
        ratio(notebook, timed, "featurization_s"),
        number(of_loop, ".0f"),
        number(of_limit, ".0f"),
        number(record.get("reduction_s")),
        ratio(notebook, record, "reduction_s"),
    )


def _stages(found: dict[str, Record]) -> list[str]:
    """Seconds by stage: one table of ours, one line for each of the others."""
    ours = {name: record for name, record in found.items() if name.startswith("ours") and good(record)}
    parts = ["### Seconds by stage"]
    if ours:
        stages = dict.fromkeys(stage for record in ours.values() for stage in record["stages"])
        rows = [[stage, *(number(each["stages"].get(stage), ",.2f") for each in ours.values())] for stage in stages]
        rows.append(["outside all nodes", *(number(_outside(each), ",.2f") for each in ours.values())])
        parts.append(markdown(["node", *(CASES[name].title for name in ours)], rows))
    others = [name for name in found if name not in ours and name != "sgemm" and good(found[name])]
    parts += [f"* {CASES[name].title}: {_listed(found[name]['stages'])}" for name in others]
    sums = [(name, record) for name, record in found.items() if good(record) and record.get("workers")]
    if sums:
        parts += [
            "Summed over workers:",
            *(f"* {CASES[name].title}: {_listed(each['workers'])}" for name, each in sums),
        ]
    return ["\n".join(_joined(parts))]


def _joined(parts: list[str]) -> Iterable[str]:
    """Bullets follow one another; anything else stands apart."""
    before = ""
    for part in parts:
        if before and not (part.startswith("*") and before.startswith("*")):
            yield ""
        yield part
        before = part


def _outside(record: Record) -> float | None:
    return record["wall_s"] - sum(record["stages"].values()) if record["stages"] else None


def _listed(stages: dict[str, Any], before: str = "") -> str:
    """`name 1.2, other 3.4`; nested names are joined."""
    cells = [
        _listed(value, f"{before}{name} ") if isinstance(value, dict) else f"{before}{name} {_plain(value)}"
        for name, value in stages.items()
    ]
    return ", ".join(cells)


def _plain(value: Any) -> str:
    return number(value, ",.2f") if isinstance(value, float) else str(value)


def _memory(found: dict[str, Record]) -> str:
    names = {
        "driver JVM": "driver_jvm_rss",
        "driver Python": "driver_python_rss",
        "largest worker": "worker_rss",
        "… shared pages by share": "worker_pss",
        "processes besides": "workers",
        "all together, by share": "tree_pss",
    }
    measured = {name: record for name, record in found.items() if name != "sgemm" and good(record)}
    rows = [
        [CASES[name].title, *(number(record["memory"].get(key), ",.0f") for key in names.values())]
        for name, record in measured.items()
    ]
    return f"### Peak memory, MB\n\n{markdown(['', *names], rows)}"


def _fidelity(found: dict[str, Record]) -> list[str]:
    parts = []
    record = good(found.get("ours-bfloat16"))
    if record and record.get("fidelity"):
        parts.append(f"### bfloat16 beside float32\n\n{fidelity.table(record['fidelity'])}")
    checked = {CASES[name].title: each.get("difference_from_ours") for name, each in found.items() if good(each)}
    listed = [f"{title} {value:.1g}" for title, value in checked.items() if value is not None]
    if listed:
        parts.append(f"Largest difference of any feature from ours (they are 0 … 6): {', '.join(listed)}.")
    return parts


def _scaling(medians: dict[Key, Record]) -> list[str]:
    """Whether an image costs more where there are more of them."""
    runs = sorted((n, record) for (name, n), record in medians.items() if name == "ours" and good(record))
    if len(runs) < 2:
        return []
    head = ("images", "ms per image, featurization", "end to end without featurization s", "driver JVM MB", "worker MB")
    rows = [
        (
            f"{n:,}",
            number(1000 * each["featurization_s"] / n if each.get("featurization_s") else None, ".2f"),
            number(each["wall_s"] - each["featurization_s"] if each.get("featurization_s") else None),
            number(each["memory"].get("driver_jvm_rss"), ",.0f"),
            number(each["memory"].get("worker_rss"), ",.0f"),
        )
        for n, each in runs
    ]
    return ["## Ours, by number of images", markdown(head, rows)]


# ---- the rest --------------------------------------------------------------------------------------------------------


def _row_section(medians: dict[Key, Record]) -> list[str]:
    sizes = sorted({n for name, n in medians if CASES[name].scale == "rows"})
    parts = []
    for n in sizes:
        found = {name: medians[name, n] for name in CASES if (name, n) in medians and CASES[name].scale == "rows"}
        parts += [f"## Scaling and PCA of {n:,} stored features", _reduction_table(found)]
        stages = [f"* {CASES[name].title}: {_listed(each['stages'])}" for name, each in found.items() if good(each)]
        parts += ["\n".join(stages)] if stages else []
        parts += [f"`{name}` failed: {record['failed']}" for name, record in found.items() if "failed" in record]
    return parts


def _reduction_table(found: dict[str, Record]) -> str:
    head: Row = ("", "process s", "runs", "notebook ÷ this", "MLlib ÷ this", "scaling + PCA s", "notebook ÷ this")
    head = (*head, "MLlib ÷ this", "driver JVM MB", "largest worker MB")
    notebook, mllib = good(found.get("reduction-notebook")), good(found.get("reduction-mllib"))
    rows = [
        (
            CASES[name].title,
            f"{number(each['wall_s'])}{disturbed(each)}",
            str(each["repeats"]),
            ratio(notebook, each, "wall_s"),
            ratio(mllib, each, "wall_s"),
            number(each.get("reduction_s")),
            ratio(notebook, each, "reduction_s"),
            ratio(mllib, each, "reduction_s"),
            number(each["memory"].get("driver_jvm_rss"), ",.0f"),
            number(each["memory"].get("worker_rss"), ",.0f"),
        )
        for name, each in found.items()
        if good(each)
    ]
    return markdown(head, rows)


def _command_section(medians: dict[Key, Record]) -> list[str]:
    found = {name: each for (name, _), each in medians.items() if not CASES[name].scale and good(each)}
    if not found:
        return []
    rows = [(f"`{CASES[name].title}`", number(each["wall_s"], ".2f")) for name, each in found.items()]
    return ["## Commands that start no Spark", markdown(("", "s"), rows)]


def _targets(medians: dict[Key, Record]) -> list[str]:
    rows = []
    for target in TARGETS:
        value = target.value({key: each for key, each in medians.items() if good(each)})
        if value is not None:
            sign, met = ("≥", value >= target.bound) if target.at_least else ("≤", value <= target.bound)
            rows.append((target.title, f"{sign} {target.bound:g}", f"{value:,.2f}", "yes" if met else "**no**"))
    return ["## Targets", markdown(("", "target", "measured", "met"), rows)] if rows else []


def _invocations(records: Records) -> list[str]:
    parts = ["## Where, when and how"]
    for each in records.invocations:
        facts = {**each["machine"], "images": each["images"], "weights": each["weights"], "commit": each["commit"]}
        rows = [(name, str(value)) for name, value in facts.items()]
        done = _what_was_done(records, each["number"])
        versions = ", ".join(f"{name} {number}" for name, number in each["versions"].items())
        parts += [
            f"### {each['number']}. {each['date']}\n\n`{each['command']}`\n\nMeasured: {done}.",
            f"{_two_columns(rows)}\n\nVersions: {versions}.",
        ]
    return parts


def _two_columns(rows: Iterable[Row]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {' | '.join(cells)} |" for cells in rows)])


def _what_was_done(records: Records, invocation: int) -> str:
    keys = [(each["contender"], each["n"]) for each in records.measurements if each["invocation"] == invocation]
    sizes: dict[str, list[str]] = {}
    for name, n in dict.fromkeys(keys):
        sizes.setdefault(name, []).append(f"{n:,}")
    return "; ".join(f"{name} {', '.join(ns)}" if ns != ["0"] else name for name, ns in sizes.items())
