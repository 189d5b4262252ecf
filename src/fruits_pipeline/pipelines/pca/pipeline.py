"""Wiring of the pca pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.pca.nodes import fit_pca, keep_fit, project_features


def create_pipeline() -> Pipeline:
    """Moments to components, and features to their projection."""
    return Pipeline(
        [
            Node(fit_pca, inputs=["moments", "scaler", "params:pca"], outputs="pca", name="fit_pca"),
            Node(
                keep_fit,
                inputs=["image_counts", "moments", "scaler", "pca", "kept_fits", "params:pca", "run"],
                outputs="fit",
                name="keep_fit",
            ),
            create_projection(),
        ],
        tags="pca",
    )


def create_projection() -> Node:
    """The node that projects the current features with a fit, be it this run's or an earlier one."""
    return Node(
        project_features,
        inputs=["featurized_images", "image_status@spark", "image_counts", "kept_projection", "fit", "run"],
        outputs="reduced_features",
        name="project_features",
    )
