"""Which images are there."""

from collections import Counter
from dataclasses import replace

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import IngestionParameters
from fruits_pipeline.run_record import RunRecord
from fruits_pipeline.workers.listing import SelectImages
from fruits_pipeline.workers.writing import MappedRows


def index_images(raw_images: MappedRows, parameters: IngestionParameters, run: RunRecord) -> MappedRows:
    """Tells the images of the raw folder from its other files, by name; no file is opened.

    Whoever lists the folder writes the index, too, page by page: one reader, for whom nobody needs Spark.

    Args:
        raw_images: The listing of all files.
        parameters: Extensions that count as images.
        run: Keeps the counts of the other files.

    Returns:
        `image_index`, not yet evaluated: `path`, `length` in bytes, `modification_time`. Writing it raises an error if
        there are no images at all.
    """
    run.ignored_files = Counter()
    return replace(
        raw_images,
        function=SelectImages(raw_images.function, parameters.extensions, run.ignored_files),
        table="image_index",
        if_empty=f"No images found: there is no {' or '.join(parameters.extensions)} file below the images folder. "
        "Expected <images>/**/<label>/<file>. Name another folder with --params=images=DIR, or other extensions in "
        "conf/base/parameters_ingestion.yml.",
    )


def count_ignored_files(image_index: MappedRows, run: RunRecord) -> dict[str, int]:
    """Says which files of the raw folder are no images to this pipeline.

    Args:
        image_index: Written by now, so that all files have been looked at; its content plays no part.
        run: The run that has written it.

    Returns:
        Number of files by extension (`""` for none), and of `hidden` ones (in names that begin with a dot).

    Raises:
        InputError: If this run has not listed the files.
    """
    if run.ignored_files is None:
        raise InputError(
            "The files that are no images are counted while the folder is listed. Run both nodes: "
            "kedro run --pipelines=ingestion, or kedro run."
        )
    return dict(sorted(run.ignored_files.items()))
