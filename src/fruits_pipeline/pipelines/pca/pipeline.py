"""Wiring of the pca pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.pca.nodes import fit_pca, project_features


def create_pipeline() -> Pipeline:
    """Moments to components, and features to their projection."""
    return Pipeline(
        [
            Node(fit_pca, inputs=["moments", "scaler", "params:pca"], outputs="pca", name="fit_pca"),
            Node(
                project_features,
                inputs=["featurized_images", "image_status", "scaler", "pca"],
                outputs="reduced_features",
                name="project_features",
            ),
        ],
        tags="pca",
    )
