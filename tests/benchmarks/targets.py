"""What the benchmarks are held against. A target without its measurements is left out of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Medians = dict[tuple[str, int], dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes:
        title: For the table.
        bound: What must be reached, or not be passed.
        value: The figure, or None where something is not measured.
        at_least: Whether larger is better.
    """

    title: str
    bound: float
    value: Callable[[Medians], float | None]
    at_least: bool = True


def figure(contender: str, n: int, *names: str) -> Callable[[Medians], float | None]:
    """One figure of one contender."""

    def value(medians: Medians) -> float | None:
        found: Any = medians.get((contender, n))
        for name in names:
            found = found.get(name) if found else None
        return None if found is None else float(found)

    return value


def quotient(
    top: Callable[[Medians], float | None], bottom: Callable[[Medians], float | None]
) -> Callable[[Medians], float | None]:
    """One figure divided by another."""

    def value(medians: Medians) -> float | None:
        a, b = top(medians), bottom(medians)
        return a / b if a is not None and b else None

    return value


def wall(contender: str, n: int) -> Callable[[Medians], float | None]:
    """Seconds end to end."""
    return figure(contender, n, "wall_s")


def stage(contender: str, n: int) -> Callable[[Medians], float | None]:
    """Seconds of featurization."""
    return figure(contender, n, "featurization_s")


def overhead(n: int) -> Callable[[Medians], float | None]:
    """Seconds of a run besides the featurization."""

    def value(medians: Medians) -> float | None:
        whole, images = wall("ours", n)(medians), stage("ours", n)(medians)
        return whole - images if whole and images else None

    return value


def share_of_limit(n: int) -> Callable[[Medians], float | None]:
    """Images per second of the featurization, as a share of what sgemm allows."""

    def value(medians: Medians) -> float | None:
        seconds, limit = stage("ours", n)(medians), figure("sgemm", n, "limit_images_per_s")(medians)
        return n / seconds / limit if seconds and limit else None

    return value


def cost_growth(small: int, large: int) -> Callable[[Medians], float | None]:
    """How much more seconds an image takes in the larger run."""

    def value(medians: Medians) -> float | None:
        a, b = stage("ours", small)(medians), stage("ours", large)(medians)
        return (b / large) / (a / small) if a and b else None

    return value


def on_rows(n: int) -> tuple[Target, ...]:
    """Targets of scaling and PCA on stored features: the stages, without the start of Spark."""
    ours = figure("reduction-ours", n, "reduction_s")
    notebook, mllib = (figure(f"reduction-{name}", n, "reduction_s") for name in ("notebook", "mllib"))
    return (
        Target(f"scaling + PCA of {n:,}: × the notebook's way", 10, quotient(notebook, ours)),
        Target(f"scaling + PCA of {n:,}: × MLlib with one fit", 3, quotient(mllib, ours)),
    )


TARGETS = (
    *(
        Target(f"{n:,} images, end to end: × the notebook", 25, quotient(wall("notebook", n), wall("ours", n)))
        for n in (2_000, 10_000)
    ),
    *(
        Target(
            f"{n:,} images, very first run: × the notebook", 15, quotient(wall("notebook", n), wall("ours-first", n))
        )
        for n in (2_000, 10_000)
    ),
    Target(
        "10,000 images, featurization: share of a bare loop",
        0.8,
        quotient(stage("bare-loop", 10_000), stage("ours", 10_000)),
    ),
    Target("10,000 images, featurization: share of the sgemm limit", 0.45, share_of_limit(10_000)),
    Target(
        "10,000 images: our featurization ÷ Daft's", 1.0, quotient(stage("ours", 10_000), stage("daft", 10_000)), False
    ),
    Target(
        "10,000 images: our whole job ÷ Daft's features only",
        1.15,
        quotient(wall("ours", 10_000), wall("daft", 10_000)),
        False,
    ),
    *on_rows(100_000),
    *(Target(f"{n:,} images: seconds besides featurization", 10, overhead(n), False) for n in (500, 2_000)),
    *(Target(f"{n:,} images: nothing new to do, s", 12, wall("ours-again", n), False) for n in (2_000, 10_000)),
    Target("kedro --help, s", 3, wall("kedro-help", 0), False),
    Target("kedro registry list, s", 3, wall("kedro-registry-list", 0), False),
    Target("10,000 images: largest Python worker, MB", 400, figure("ours", 10_000, "memory", "worker_rss"), False),
    Target("10,000 images: driver JVM, MB", 1536, figure("ours", 10_000, "memory", "driver_jvm_rss"), False),
    Target("cost per image, 25,000 against 2,000 images", 1.05, cost_growth(2_000, 25_000), False),
    Target(
        "10,000 images, bfloat16: × the notebook", 35, quotient(wall("notebook", 10_000), wall("ours-bfloat16", 10_000))
    ),
)
"""The targets of the project's third issue (ratios of one machine, 2 cores, MobileNetV2 alpha 1.0)."""
