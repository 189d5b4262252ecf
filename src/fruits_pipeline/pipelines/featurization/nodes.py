"""1280 features for each new image, or the reason why not."""

import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.datasets.encoders import ExportedEncoder
from fruits_pipeline.encoders.card import Encoder, EncoderWeights, is_same_encoder
from fruits_pipeline.errors import ContractError, InputError
from fruits_pipeline.images import judged_by
from fruits_pipeline.parameters import EncoderParameters, FeaturizationParameters
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.schemas import STATUSES
from fruits_pipeline.workers.features import PLACE
from fruits_pipeline.workers.featurization import STAGES, FeaturizeTask
from fruits_pipeline.workers.summaries import Summary, named
from fruits_pipeline.workers.writing import MappedRows

logger = logging.getLogger(__name__)

IDENTITY = ["path", "length", "modification_time"]
"""What makes two listings the same image: a file that was replaced has another size or time."""

UNREAD = ("vanished", "unreadable")
"""Reasons that say nothing about the bytes: another permission changes neither size nor time of a file."""


def choose_encoder(parameters: EncoderParameters, weights: EncoderWeights, exported: list[ExportedEncoder]) -> Encoder:
    """Takes the encoder that was exported earlier, or exports it now (the only step that needs TensorFlow).

    Args:
        parameters: Which network.
        weights: The weights that the parameters name.
        exported: All encoders exported so far.

    Returns:
        The encoder.

    Raises:
        InputError: If parameters and weights contradict each other.
        EncoderError: If it must be exported and cannot be.
    """
    if weights.spec != parameters.weights:
        raise InputError(
            f"encoder.weights is {parameters.weights} in the parameters, but {weights.spec} in the catalog. Both read "
            "it from `encoder` in globals.yml: change it there (name, alpha and weights together), or with "
            f"--params=encoder.weights={parameters.weights}."
        )
    known = [candidate for candidate in exported if is_same_encoder(candidate.card, parameters, weights)]
    if known:
        encoder = known[0].load()
    else:
        from fruits_pipeline.encoders.export import export_encoder

        encoder = export_encoder(parameters, weights)
    logger.info("Encoder: %s", encoder.card.summary)
    return encoder


class PendingImages(NamedTuple):
    """The images that a run has to do.

    Attributes:
        rows: Of `labeled_images`.
        n_images: How many, where that is known without asking Spark.
    """

    rows: DataFrame
    n_images: int | None = None


def select_pending(
    labeled_images: DataFrame,
    image_index: Summary,
    committed_images: DataFrame,
    committed: Summary,
    encoder: Encoder,
    parameters: FeaturizationParameters,
) -> PendingImages:
    """Selects the images that this encoder has not seen.

    Args:
        labeled_images: All images that are there now.
        image_index: What is known of them as a whole.
        committed_images: All rows of all earlier runs, of any encoder.
        committed: What is known of those as a whole.
        encoder: The encoder of this run.
        parameters: `refresh` selects all images.

    Returns:
        The rows of `labeled_images` that are new, were replaced, were never done by this encoder, whose bytes could
        not be read the last time, or that another decoder or limit has put into quarantine.
    """
    if parameters.refresh or not named(committed, "encoder").get(encoder.card.fingerprint):
        return PendingImages(labeled_images, image_index["rows"])  # 2 s of Spark's time in each encoder's first run
    by_this_encoder = committed_images.where(F.col("encoder") == encoder.card.fingerprint)
    latest = by_this_encoder.groupBy(IDENTITY).agg(F.max(F.struct("run_id", "reason", "judged_by")).alias("row"))
    reason, judge = F.col("row.reason"), F.col("row.judged_by")
    is_bad_for_good = ~reason.isin(*UNREAD) & (judge == judged_by(parameters.max_pixels))
    done = latest.where(reason.isNull() | is_bad_for_good).select(IDENTITY)
    return PendingImages(labeled_images.join(done, IDENTITY, "left_anti").select(labeled_images.columns))


def featurize_images(
    pending_images: PendingImages, encoder: Encoder, parameters: FeaturizationParameters, run: RunRecord
) -> Iterator[MappedRows]:
    """Runs every pending image through the encoder, once, when the result is written.

    Args:
        pending_images: Images to do.
        encoder: Broadcast to the workers.
        parameters: Sizes of batches and tasks, and the limit of pixels.
        run: Gives the id of the batch.

    Yields:
        One batch of `featurized_images`, not yet evaluated; nothing if nothing is pending.
    """
    rows, n_known = pending_images
    n_images = run.n_pending = rows.count() if n_known is None else n_known
    logger.info("Images to featurise: %d", n_images)
    if n_images == 0:
        return
    context = rows.sparkSession.sparkContext
    sums = run.start_clocks({stage: context.accumulator(0.0) for stage in STAGES})
    task = FeaturizeTask(
        card=encoder.card,
        payload=context.broadcast(encoder.payload),
        run_id=run.run_id,
        threads=int(context.getConf().get("spark.task.cpus", "1")),
        batch_size=encoder.card.images_per_call(parameters.batch_size),
        read_ahead=parameters.read_ahead,
        max_pixels=parameters.max_pixels,
        sums=sums,
    )
    n_tasks = count_tasks(n_images, parameters.images_per_task, count_cores(rows))
    yield MappedRows(rows.repartition(n_tasks), task, "featurized_images", sums["writing"])


def count_cores(rows: DataFrame) -> int:
    """How many cores there are. On a cluster Spark knows it once executors have come, and a job waits for one."""
    context = rows.sparkSession.sparkContext
    if not str(context.master).startswith("local"):
        rows.limit(1).count()
    return context.defaultParallelism


def count_tasks(n_images: int, images_per_task: int, n_cores: int) -> int:
    """How many tasks share the images: at most `images_per_task` each, and a whole number of rounds for all cores.

    Example:
        >>> count_tasks(1000, 128, 2), count_tasks(3, 128, 4)
        (8, 3)
    """
    rounds = math.ceil(n_images / (images_per_task * n_cores))
    return min(n_images, rounds * n_cores)


def account_for_images(
    labeled_images: DataFrame, featurized_images: DataFrame, committed: Summary, encoder: Encoder, run: RunRecord
) -> DataFrame:
    """Says of every listed image what became of it, and which batch holds its current row.

    Args:
        labeled_images: All images that are there now.
        featurized_images: All committed batches, this run's included.
        committed: What is known of those as a whole.
        encoder: Only rows made by this encoder count.
        run: Rows of this run are `featurised` or `quarantined`, rows of earlier runs are `unchanged`.

    Returns:
        `image_status`: one row per listed image. An image without a row in any batch gets the status `lost`, which
        the table's contract refuses.
    """
    rows = featurized_images.where(F.col("encoder") == encoder.card.fingerprint)
    row = F.struct("run_id", "reason", "detail")
    by_this_encoder = named(committed, "encoder").get(encoder.card.fingerprint, 0)
    if named(committed, "run_id").get(run.run_id) == by_this_encoder:  # all are of this run, none has an older one
        latest = rows.select(*IDENTITY, row.alias("row"))
    else:
        latest = rows.groupBy(IDENTITY).agg(F.max(row).alias("row"))
    status = (
        F.when(F.col("row").isNull(), "lost")
        .when(F.col("row.run_id") != run.run_id, "unchanged")
        .when(F.col("row.reason").isNull(), "featurised")
        .otherwise("quarantined")
    )
    return labeled_images.join(latest, IDENTITY, "left").select(
        *labeled_images.columns,
        status.alias("status"),
        "row.reason",
        "row.detail",
        F.lit(encoder.card.fingerprint).alias("encoder"),
        "row.run_id",
    )


def count_images(image_index: Summary, image_status: Summary) -> dict[str, Any]:
    """Counts the images and asserts that none is missing: listed = featurised + quarantined + unchanged.

    Args:
        image_index: What was listed, before anything else was done.
        image_status: What became of it.

    Returns:
        `listed`, `featurised`, `quarantined`, `unchanged` in this run; `in_quarantine`, how many of all listed images
        have no features; `with_features`, how many have; `encoder`, whose features they are; `digest`, which is the
        same for the same features of the same images with the same labels.

    Raises:
        ContractError: If the numbers do not add up, or the paths are not the same, each as often.
    """
    listed, with_features = image_index["rows"], image_status["with_features"]
    statuses = {status: image_status.get(f"status/{status}", 0) for status in STATUSES}
    accounted = sum(statuses.values())
    if (listed, image_index["paths"]) != (accounted, image_status["paths"]):
        which = ", but not the same ones" if listed == accounted else ""
        raise ContractError(
            f"Images listed: {listed}, accounted for: {accounted}{which} ({statuses}). Images were lost or doubled; "
            "run again with --params=featurization.refresh=true and report this."
        )
    return {
        "listed": listed,
        **statuses,
        "in_quarantine": image_status["rows"] - with_features,
        "with_features": with_features,
        "encoder": max(named(image_status, "encoder"), default=None),
        "digest": digest_of(image_status),
    }


def digest_of(summary: Summary) -> str:
    """A number, as text, that any change of a set of features changes; the order of the rows plays no part."""
    return str(summary["digest"] % 2**64)


def select_current_features(featurized_images: DataFrame, image_status: DataFrame) -> DataFrame:
    """The features of the images that are there now, by the current encoder, for Spark: for notebooks, not for speed.

    Args:
        featurized_images: All committed batches: also of images that were removed or replaced, and other encoders.
        image_status: Which batch holds the current row of each listed image.

    Returns:
        `path`, `label`, `sha256`, `encoder`, `run_id` (that made the features), `features`.
    """
    return _current(featurized_images, image_status, F.col("features"))


def locate_current_features(featurized_images: DataFrame, image_status: DataFrame) -> DataFrame:
    """Where the features of `select_current_features` are, for the workers to read them themselves (`WithFeatures`).

    Args:
        featurized_images: All committed batches, as read from their files: only then Spark knows where rows are.
        image_status: Which batch holds the current row of each listed image.

    Returns:
        `path`, `label`, `sha256`, `encoder`, `run_id` (that made the features), `file_path`, `row_index` (from 0).
    """
    return _current(featurized_images, image_status, *(F.col(f"_metadata.{name}").alias(name) for name in PLACE))


def _current(featurized_images: DataFrame, image_status: DataFrame, *columns: Column) -> DataFrame:
    keys = ["path", "run_id", "encoder"]
    current = image_status.where(F.col("reason").isNull()).select(*keys, "label")
    rows = featurized_images.where(F.col("reason").isNull()).select(*keys, "sha256", *columns)
    joined = rows.join(F.broadcast(current), keys)
    return joined.select("path", "label", "sha256", "encoder", "run_id", *rows.columns[len(keys) + 1 :])
