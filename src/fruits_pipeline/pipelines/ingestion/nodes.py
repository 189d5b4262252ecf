"""Which images are there."""

import re

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.errors import InputError
from fruits_pipeline.parameters import IngestionParameters


def index_images(raw_images: DataFrame, parameters: IngestionParameters) -> tuple[DataFrame, dict[str, int]]:
    """Tells the images of the raw folder from its other files, by name; no file is opened.

    Args:
        raw_images: The listing of all files.
        parameters: Extensions that count as images.

    Returns:
        image_index: `path`, `length` in bytes, `modification_time`.
        ignored_files: Number of other files by extension (`""` for none), and of `hidden` ones (in names that begin
            with a dot): these are no images to this pipeline.

    Raises:
        InputError: If there are no images at all.
    """
    is_image = F.col("path").rlike(extension_pattern(parameters.extensions))
    extension = F.lower(F.regexp_extract("path", r"\.([^./]*)\z", 1))
    kind = F.when(F.col("hidden"), "hidden").when(~is_image, extension)  # null for images
    # The listing is used twice below, and must be the same both times.
    files = raw_images.select("path", "length", "modification_time", kind.alias("kind")).persist()
    counts = {row["kind"]: row["count"] for row in files.groupBy("kind").count().collect()}
    if not counts.pop(None, 0):
        raise InputError(
            f"No images found: there is no {' or '.join(parameters.extensions)} file below the images folder. Expected "
            "<images>/**/<label>/<file>. Name another folder with --params=images=DIR, or other extensions in "
            "conf/base/parameters_ingestion.yml."
        )
    return files.where(F.col("kind").isNull()).drop("kind"), dict(sorted(counts.items()))


def extension_pattern(extensions: tuple[str, ...]) -> str:
    r"""Java regular expression for paths that end in one of the extensions, in any case.

    Example:
        >>> extension_pattern(("jpg", "png"))
        '(?is)\\.(jpg|png)\\z'
    """
    return rf"(?is)\.({'|'.join(re.escape(extension) for extension in extensions)})\z"
