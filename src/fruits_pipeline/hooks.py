"""What surrounds a run: Spark's settings, checks before anything runs, the clock, the progress bar, the verdict."""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from fruits_pipeline import spark
from fruits_pipeline.errors import InputError, QuarantineError
from fruits_pipeline.failures import explain, interrupt_in
from fruits_pipeline.java import check_java
from fruits_pipeline.listing import list_files
from fruits_pipeline.lock import OutputLock, place_of
from fruits_pipeline.run_record import RunRecord, git_commit, package_versions, plain
from fruits_pipeline.s3 import PROTOCOLS, check_region, check_writable

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from fruits_pipeline.progress import FeaturizationProgress

logger = logging.getLogger(__name__)

ROOTS = ("images", "output")
"""Runtime parameters that are no parameters of a pipeline: the roots of the catalog's paths."""

NO_BUCKET = "<FRUITS_BUCKET is not set>"
"""What conf/cloud/globals.yml puts in the place of a bucket that nobody named."""


class ProjectHooks:
    """The project's hooks (https://docs.kedro.org/en/stable/extend/hooks/introduction/)."""

    def __init__(self) -> None:
        """One instance serves one process; each run has a record of its own."""
        self._record: RunRecord | None = None
        self._catalog: DataCatalog | None = None
        self._progress: FeaturizationProgress | None = None
        self._lock: OutputLock | None = None
        self._report: dict[str, Any] = {}
        self._ended = True
        self._env = "base"
        self._project = Path.cwd()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Hands Spark its settings, which starts Java under `kedro run`; checks the names of runtime parameters."""
        self._env = context.env or "base"
        self._project = context.project_path
        spark.configure(context.config_loader["spark"])  # first of all: Java is what the first tables wait for
        check_parameter_names(context._runtime_params or {})

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Finds out before any work whether the run can work at all, and starts the record of the run."""
        check_java()
        if "raw_images" in pipeline.inputs():
            check_images(catalog["raw_images"]._describe()["filepath"])
        self._lock_output(output_root(catalog), run_params["run_id"])
        spark.start_in_background(meanwhile=prepare_figures if "scree_plot" in pipeline.datasets() else None)
        self._catalog = catalog
        self._record = RunRecord(
            run_id=run_params["run_id"],
            env=self._env,
            pipelines=tuple(run_params["pipeline_names"] or ["__default__"]),
            git_commit=git_commit(self._project),
        )
        catalog.save("run", self._record)
        self._ended, self._report = False, {}
        self._keep_report("started")

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Starts the node's clock."""
        if self._record:
            self._record.begin(node.name)

    def _lock_output(self, output: str, run_id: str) -> None:
        check_output(output)
        place = place_of(output)
        if place:
            self._lock = OutputLock(place, output, run_id)
            self._lock.acquire()
            atexit.register(self._release_output)  # Kedro tells no hook of Ctrl-C

    def _keep_report(self, status: str, **more: Any) -> None:
        """Keeps what is known of the run; the reporting pipeline puts its own report in this place."""
        if self._record and self._catalog:
            known = {"seconds": {"total": round(self._record.elapsed, 3)}, "versions": package_versions()}
            try:
                parameters = {"parameters": plain(self._catalog.load("parameters"))}
                report = {**known, **parameters, **self._report, **self._record.summary(status), **more}
                self._catalog["kept_report"].save(report)
            except Exception as error:  # the run's own error is the one that people must see
                logger.warning("The report of this run could not be kept: %s", error)
        self._ended = status != "started"

    def _release_output(self) -> None:
        if not self._ended:
            self._keep_report("interrupted")
        if self._lock:
            self._lock.release()
            self._lock = None

    @hook_impl
    def before_node_run(self) -> None:
        """Makes Ctrl-C mean Ctrl-C again, now that Spark has started and put its own handler there."""
        spark.restore_interrupts()
        if self._lock:
            self._lock.check()

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Makes sure that the output is still this run's; starts the progress bar of the featurization."""
        if self._lock:
            self._lock.check()
        if dataset_name == "kept_report":
            self._report = data
        if dataset_name == "featurized_images" and self._record:
            self._start_progress(self._record.n_pending)

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        """Stops the node's clock, and the progress bar."""
        self._stop_progress()
        if self._record:
            self._record.lap(node.name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str) -> None:
        """Takes the clock of the listing into the record of the run."""
        if dataset_name == "raw_images" and self._record and self._catalog:
            self._record.start_clocks(getattr(self._catalog["raw_images"], "clock", {}))

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Clears the terminal of a half-done bar, keeps a report of the failure, and gives the output back."""
        self._stop_progress()
        if not interrupt_in(error):  # or it ends like the interruptions of which Kedro tells no hook
            self._keep_report("failed", error=explain(error) or repr(error)[:500])
            if self._record:
                error.add_note(f"Run {self._record.run_id}")
        self._release_output()

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Gives the output back, and the verdict when everything is written.

        Raises:
            QuarantineError: If too many of the listed images are in quarantine.
        """
        if "kept_report" not in pipeline.datasets():
            self._keep_report("finished")
        self._ended = True
        self._release_output()
        if "image_counts" in {output for node in pipeline.nodes for output in node.outputs}:
            counts = catalog.load("image_counts")
            log_counts(counts)
            check_quarantine(counts, catalog.load("params:featurization").max_quarantined)

    def _start_progress(self, n_images: int) -> None:
        from pyspark import SparkContext

        from fruits_pipeline.progress import FeaturizationProgress

        if FeaturizationProgress.is_wanted():
            self._progress = FeaturizationProgress(n_images, SparkContext.getOrCreate().statusTracker())
            self._progress.start()

    def _stop_progress(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None


def prepare_figures() -> None:
    """Imports pandas and Plotly, and does what takes Plotly long at the first figure, before the reports need it."""
    from fruits_pipeline.pipelines.reporting import figures

    figures.prepare_figures()


def check_parameter_names(given: dict[str, Any]) -> None:
    """Refuses runtime parameters that nothing reads: a typo must not silently run on the sample.

    Raises:
        InputError: With the name that was probably meant.
    """
    from fruits_pipeline.parameters import GROUPS  # imports a quarter of a second, in which Java can start

    names = [*ROOTS, *GROUPS]
    for name in set(given) - set(names):
        meant = get_close_matches(name, names, n=1)
        hint = f" Did you mean {meant[0]}?" if meant else ""
        raise InputError(f"--params: there is no parameter {name}.{hint} Known: {', '.join(names)}.")


def check_images(folder: str) -> None:
    """Makes sure that the images folder is there and can be listed.

    Raises:
        InputError: If not.
    """
    if "://" in folder:
        check_bucket(folder)
        next(list_files(folder), None)  # one request: Spark's workers would say the same, but later and four times
        return
    if not os.path.isdir(folder):
        what = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        raise InputError(f"The images folder {folder} {what}. Name another one with --params=images=DIR.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"The images folder {folder} may not be read by this user. Change its permissions.")


def check_bucket(folder: str) -> None:
    """Makes sure that conf/cloud knows the bucket, and that it lies in the European Union.

    Raises:
        InputError: If not.
    """
    if NO_BUCKET in folder:
        raise InputError(
            "Which bucket? Set FRUITS_BUCKET to its name (export FRUITS_BUCKET=my-bucket), or name other roots with "
            "--params=images=s3://BUCKET/FOLDER,output=s3://BUCKET/FOLDER."
        )
    protocol, _, rest = folder.partition("://")
    if protocol in PROTOCOLS:
        check_region(rest.partition("/")[0])


def output_root(catalog: DataCatalog) -> str:
    """The output folder of a run, local or s3://…, as the catalog has it."""
    table = catalog["featurized_images"]._describe()
    root = table["filepath"].rsplit("/", 2)[0]
    return root if table["protocol"] == "file" else f"{table['protocol']}://{root}"


def check_output(folder: str) -> None:
    """Makes sure that the output folder can be written to; storages other than disk and S3 say so at the first table.

    Raises:
        InputError: If not.
    """
    protocol, separator, rest = folder.partition("://")
    if separator:
        check_bucket(folder)
        if protocol in PROTOCOLS:
            bucket, _, prefix = rest.partition("/")
            check_writable(bucket, prefix)
        return
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"The output folder cannot be written to: {error}. Name another one with --params=output=DIR."
        ) from error


def log_counts(counts: dict[str, int]) -> None:
    """One line that says what became of the images."""
    logger.info(
        "Images listed: %(listed)d = %(featurised)d featurised + %(quarantined)d quarantined + %(unchanged)d unchanged",
        counts,
    )


def check_quarantine(counts: dict[str, int], limit: float) -> None:
    """Compares the share of images in quarantine with the limit.

    Raises:
        QuarantineError: If it is larger.
    """
    bad, listed = counts["in_quarantine"], counts["listed"]
    if listed and bad / listed > limit:  # not bad > limit * listed: 29 > 0.29 * 100 in floating point
        raise QuarantineError(
            f"{bad} of {listed} images ({bad / listed:.1%}) are in quarantine, more than the "
            f"{limit:.1%} that featurization.max_quarantined allows. All results are written; 08_reporting/"
            "quarantine.csv lists the images with reasons. Mend or remove them, or accept them with "
            "--params=featurization.max_quarantined=0.05 (a share)."
        )
