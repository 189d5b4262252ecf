"""Which images are there."""

import re

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.parameters import IngestionParameters


def index_images(raw_images: DataFrame, parameters: IngestionParameters) -> tuple[DataFrame, dict[str, int]]:
    """Lists the images of the raw folder; no file is opened.

    Args:
        raw_images: Spark's `binaryFile` listing of all files (its column `content` is not read).
        parameters: Extensions that count as images.

    Returns:
        image_index: `path`, `length` in bytes, `modification_time`.
        ignored_files: Number of other files by extension (`""` for none); they are no images to this pipeline.
    """
    files = raw_images.withColumnRenamed("modificationTime", "modification_time")
    is_image = F.col("path").rlike(extension_pattern(parameters.extensions))
    extension = F.lower(F.regexp_extract("path", r"\.([^./]*)\z", 1))
    ignored = files.where(~is_image).groupBy(extension.alias("extension")).count().collect()
    index = files.where(is_image).select("path", "length", "modification_time")
    return index, {row["extension"]: row["count"] for row in sorted(ignored)}


def extension_pattern(extensions: tuple[str, ...]) -> str:
    r"""Java regular expression for paths that end in one of the extensions, in any case.

    Example:
        >>> extension_pattern(("jpg", "png"))
        '(?is)\\.(jpg|png)\\z'
    """
    return rf"(?is)\.({'|'.join(re.escape(extension) for extension in extensions)})\z"
