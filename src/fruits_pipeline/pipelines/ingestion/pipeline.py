"""Wiring of the ingestion pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.ingestion.nodes import count_ignored_files, index_images


def create_pipeline() -> Pipeline:
    """Raw files to the index of images."""
    return Pipeline(
        [
            Node(
                index_images,
                inputs=["raw_images", "params:ingestion", "run"],
                outputs="image_index@arrow",
                name="index_images",
            ),
            Node(
                count_ignored_files,
                inputs=["image_index@arrow", "run"],
                outputs="ignored_files",
                name="count_ignored_files",
            ),
        ],
        tags="ingestion",
    )
