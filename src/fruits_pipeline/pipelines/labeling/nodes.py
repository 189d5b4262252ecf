"""Which fruit each image shows."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fruits_pipeline.parameters import LabelingParameters


def label_images(image_index: DataFrame, parameters: LabelingParameters) -> DataFrame:
    """Labels each image with the name of its folder.

    Args:
        image_index: `path`, `length`, `modification_time`.
        parameters: Which of the folders above the file names the fruit.

    Returns:
        The index and `label`.
    """
    return image_index.withColumn("label", label_of(F.col("path"), parameters.folder_level))


def label_of(path: Column, folder_level: int = 1) -> Column:
    """Name of the folder (or bucket) `folder_level` levels above the file; null if the path is not that deep."""
    without_scheme = F.regexp_replace(path, r"(?s)\A[A-Za-z][A-Za-z0-9+.-]*:/*", "")
    return F.try_element_at(F.split(without_scheme, "/"), F.lit(-1 - folder_level))
