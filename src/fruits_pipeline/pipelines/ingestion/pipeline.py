"""Wiring of the ingestion pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.ingestion.nodes import index_images


def create_pipeline() -> Pipeline:
    """Raw files to the index of images."""
    return Pipeline(
        [
            Node(
                index_images,
                inputs=["raw_images", "params:ingestion"],
                outputs=["image_index", "ignored_files"],
                name="index_images",
            ),
        ],
        tags="ingestion",
    )
