"""A progress bar for the featurization, on terminals only: images done, images per second, time left."""

from __future__ import annotations

import sys
import threading
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PERIOD = 0.5


class FeaturizationProgress:
    """Shows how far the widest active Spark stage is, in images.

    Spark's status tracker knows finished tasks, and the tasks are of equal size; nothing is asked of the workers.
    """

    def __init__(self, n_images: int, status_tracker: Any, console: Console | None = None) -> None:
        """Nothing is shown yet.

        Args:
            n_images: Images that the run will featurise.
            status_tracker: `SparkContext.statusTracker()`.
            console: Where to draw; standard error if None.
        """
        self._n_images = n_images
        self._tracker = status_tracker
        self._progress = Progress(
            TextColumn("Featurising"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} images/s"),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("featurising", total=n_images, rate="–")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    @staticmethod
    def is_wanted() -> bool:
        """Whether somebody is looking: standard error is a terminal."""
        return sys.stderr.isatty()

    def start(self) -> None:
        """Begins to draw."""
        self._progress.start()
        self._thread.start()

    def stop(self) -> None:
        """Removes the bar."""
        self._stopped.set()
        self._thread.join()
        self._progress.stop()

    def _watch(self) -> None:
        while not self._stopped.wait(_PERIOD):
            self._draw(self.share_done())

    def _draw(self, share: float) -> None:
        task = self._progress.tasks[0]
        done = round(share * self._n_images)
        rate = f"{done / task.elapsed:.0f}" if done and task.elapsed else "–"
        self._progress.update(self._task, completed=max(done, int(task.completed)), rate=rate)

    def share_done(self) -> float:
        """Share of finished tasks of the active stage with the most tasks, 0 … 1."""
        stages = [self._tracker.getStageInfo(stage) for stage in self._tracker.getActiveStageIds()]
        widest = max((stage for stage in stages if stage), key=lambda stage: stage.numTasks, default=None)
        return widest.numCompletedTasks / widest.numTasks if widest and widest.numTasks else 0.0
