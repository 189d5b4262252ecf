"""Wiring of the apply pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.apply.nodes import choose_fit
from fruits_pipeline.pipelines.pca.pipeline import create_projection


def create_pipeline() -> Pipeline:
    """Features to their projection with an earlier fit."""
    return Pipeline(
        [
            Node(
                choose_fit,
                inputs=["kept_fits", "kept_projection", "encoder", "params:apply"],
                outputs="fit",
                name="choose_fit",
            ),
            create_projection(),
        ],
        tags="apply",
    )
