"""Wiring of the scaling pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.scaling.nodes import compute_moments, fit_scaler


def create_pipeline() -> Pipeline:
    """Features to their moments, and the scaler from these."""
    return Pipeline(
        [
            Node(
                compute_moments,
                inputs=["featurized_images", "image_status@spark", "image_counts", "kept_moments", "params:scaling"],
                outputs="moments",
                name="compute_moments",
            ),
            Node(fit_scaler, inputs="moments", outputs="scaler", name="fit_scaler"),
        ],
        tags="scaling",
    )
