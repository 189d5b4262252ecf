"""Which fruit each image shows."""

from dataclasses import replace

from fruits_pipeline.parameters import LabelingParameters
from fruits_pipeline.workers.listing import LabelImages
from fruits_pipeline.workers.writing import MappedRows


def label_images(image_index: MappedRows, parameters: LabelingParameters) -> MappedRows:
    """Labels each image with the name of its folder.

    Args:
        image_index: `path`, `length`, `modification_time`.
        parameters: Which of the folders above the file names the fruit.

    Returns:
        The index and `label`, not yet evaluated.
    """
    labeled = LabelImages(image_index.function, parameters.folder_level)
    return replace(image_index, function=labeled, table="labeled_images")
