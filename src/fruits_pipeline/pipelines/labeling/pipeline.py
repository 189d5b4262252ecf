"""Wiring of the labeling pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.labeling.nodes import label_images


def create_pipeline() -> Pipeline:
    """The index of images, with a label for each."""
    return Pipeline(
        [
            Node(
                label_images,
                inputs=["image_index@arrow", "params:labeling"],
                outputs="labeled_images",
                name="label_images",
            ),
        ],
        tags="labeling",
    )
