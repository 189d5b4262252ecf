"""Wiring of the maintenance pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.maintenance.nodes import compact_batches


def create_pipeline() -> Pipeline:
    """All committed batches to one."""
    return Pipeline(
        [
            Node(
                compact_batches,
                inputs=["committed_images", "params:maintenance"],
                outputs="compacted_images",
                name="compact_batches",
            )
        ],
        tags="maintenance",
    )
