"""A progress bar for uploads, on terminals only."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from fruits_pipeline.emr.artifacts import Item
from fruits_pipeline.emr.upload import Total


class Bar:
    """Files and bytes done, bytes a second, time left."""

    def __init__(self, title: str, total: Total, console: Console | None = None) -> None:
        """Prepares the bar; nothing is drawn yet.

        Args:
            title: What is done.
            total: Of all files.
            console: Where to; standard error, if that is a terminal.
        """
        self._done, self._files = 0, total.files
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[files]}"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
            disable=console is None and not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task(title, total=total.size, files=self._count())

    def __enter__(self) -> Bar:
        """Begins to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the bar."""
        self._progress.stop()

    def tell(self, item: Item, sent: bool) -> None:
        """One more file is there, sent now or before."""
        self._done += 1
        self._progress.update(self._task, advance=item.size, files=self._count())

    def _count(self) -> str:
        return f"{self._done:,}/{self._files:,} files"
