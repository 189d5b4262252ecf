"""The progress bar: shown on terminals, silent in files."""

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from fruits_pipeline.progress import FeaturizationProgress


class Tracker:
    """A status tracker whose stages are given."""

    def __init__(self, **stages: tuple[int, int]) -> None:
        self.stages = {
            number: SimpleNamespace(numCompletedTasks=done, numTasks=tasks)
            for number, (done, tasks) in enumerate(stages.values())
        }

    def getActiveStageIds(self):  # noqa: N802 (Spark's name)
        return list(self.stages)

    def getStageInfo(self, number):  # noqa: N802
        return self.stages[number]


def progress(tracker: Tracker, terminal: bool = True) -> tuple[FeaturizationProgress, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=100)
    return FeaturizationProgress(1000, tracker, console), written


@pytest.mark.parametrize(
    ("stages", "share"),
    [({}, 0.0), ({"a": (3, 4)}, 0.75), ({"index": (1, 2), "features": (10, 40)}, 0.25), ({"empty": (0, 0)}, 0.0)],
)
def test_share_is_that_of_the_widest_stage(stages, share):
    assert progress(Tracker(**stages))[0].share_done() == share


def test_a_terminal_sees_images_and_speed():
    bar, written = progress(Tracker(features=(30, 40)))
    bar.start()
    time.sleep(0.8)
    bar.stop()
    assert "750/1000" in written.getvalue()
    assert "images/s" in written.getvalue()


def test_it_never_goes_back():
    tracker = Tracker(features=(30, 40))
    bar, _ = progress(tracker)
    bar._draw(bar.share_done())
    bar._draw(0.0)  # between two stages nothing is active
    assert bar._progress.tasks[0].completed == 750


@pytest.mark.parametrize("terminal", [True, False])
def test_it_is_wanted_on_terminals_only(monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: terminal))
    assert FeaturizationProgress.is_wanted() is terminal
