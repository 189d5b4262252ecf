"""`kedro run` that meets with a fault at a named point: `python faults.py POINT FAULT run --params=…`.

Run in the project's folder, in a process of its own. The points are set with hooks and by wrapping functions of the
project in this process only; the project itself knows nothing of them.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kedro.framework.hooks import hook_impl


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill_java() -> None:
    """Kills the JVM, which in a local run is driver and executor."""
    os.kill(_children("java")[0], signal.SIGKILL)


def kill_worker() -> None:
    """Kills one of Spark's Python workers, as the kernel does when memory runs out."""
    os.kill(_children("fruits_pipeline.workers.daemon")[-1], signal.SIGKILL)


def make_read_only() -> None:
    """Makes the filesystem of the output read-only, which is a mount of its own then."""
    subprocess.run(["mount", "-o", "remount,ro", os.environ["FRUITS_TEST_MOUNT"]], check=True)


FIRES = "The fault comes now."
"""What stands in the log of every run that a fault has met."""

FAULTS = {
    function.__name__: function for function in (kill, terminate, interrupt, kill_java, kill_worker, make_read_only)
}


def _children(word: str) -> list[int]:
    """Processes below this one with a word in their command line, the youngest last."""
    found, pending = [], [os.getpid()]
    while pending:
        pid = pending.pop()
        for task in Path(f"/proc/{pid}/task").iterdir():
            pending += [int(child) for child in (task / "children").read_text().split()]
        if word in Path(f"/proc/{pid}/cmdline").read_text() and pid != os.getpid():
            found.append(pid)
    return sorted(found)


class FaultHooks:
    """Fires once, at a point of the run."""

    def __init__(self, point: str, fault: Callable[[], None]) -> None:
        self.point, self.fault = point, fault

    def fire(self, point: str) -> None:
        if point == self.point:
            self.point = ""
            print(FIRES, file=sys.stderr, flush=True)
            self.fault()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self.fire(f"after {dataset_name.partition('@')[0]}")

    @hook_impl
    def before_dataset_saved(self, dataset_name: str) -> None:
        if self.point.startswith(("middle of", "some of")) and self.point.endswith(dataset_name):
            threading.Thread(target=self._watch, args=(dataset_name,), daemon=True).start()

    def _watch(self, dataset_name: str) -> None:
        """Waits until the workers are at it, or until the first of their files is there."""
        there = _has_files if self.point.startswith("some of") else _has_running_tasks
        while not there(dataset_name):
            time.sleep(0.005)
        self.fire(self.point)


def _has_files(dataset_name: str) -> bool:
    """Whether a folder without a mark has a finished file."""
    tables = Path(os.environ["FRUITS_TEST_OUTPUT"]).glob(f"0*/{dataset_name}/*")
    return any(any(folder.glob("part-*")) for folder in tables if not (folder / "_SUCCESS").exists())


def _has_running_tasks(_: str) -> bool:
    from pyspark import SparkContext

    tracker = SparkContext.getOrCreate().statusTracker()
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    return any(stage.numActiveTasks for stage in stages if stage)


def around_commits(hooks: FaultHooks) -> None:
    """All files are in their place, but the mark is not; or the mark is there, and what it replaces is, too."""
    from fruits_pipeline.datasets.committed_folders import CommittedFolders

    commit = CommittedFolders.commit

    def commit_and_fire(self: CommittedFolders, name: str, replaces: list[str], summary: dict[str, int]) -> None:
        hooks.fire(f"before commit of {Path(self.path).name}")
        commit(self, name, replaces, summary)
        if replaces:
            hooks.fire("after replacement")

    CommittedFolders.commit = commit_and_fire


def main() -> None:
    point, fault, *arguments = sys.argv[1:]
    import fruits_pipeline.settings as settings

    hooks = FaultHooks(point, FAULTS[fault])
    settings.HOOKS = (*settings.HOOKS, hooks)
    around_commits(hooks)
    sys.argv = ["kedro", *arguments]
    from kedro.framework.cli import main as kedro

    kedro()


if __name__ == "__main__":
    main()
