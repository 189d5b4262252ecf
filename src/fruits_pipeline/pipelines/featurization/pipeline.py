"""Wiring of the featurization pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.featurization import nodes


def create_pipeline() -> Pipeline:
    """Labeled images to a new batch of features, and the account of every image."""
    return Pipeline(
        [
            Node(
                nodes.choose_encoder,
                inputs=["params:encoder", "encoder_weights", "exported_encoders"],
                outputs="encoder",
                name="choose_encoder",
            ),
            Node(
                nodes.select_pending,
                inputs=[
                    "labeled_images",
                    "image_index@summary",
                    "committed_images",
                    "committed_summary",
                    "encoder",
                    "params:featurization",
                ],
                outputs="pending_images",
                name="select_pending",
            ),
            Node(
                nodes.featurize_images,
                inputs=["pending_images", "encoder", "params:featurization", "run"],
                outputs="featurized_images",
                name="featurize_images",
            ),
            Node(
                nodes.account_for_images,
                inputs=["labeled_images", "featurized_images", "committed_summary", "encoder", "run"],
                outputs="image_status@spark",
                name="account_for_images",
            ),
            Node(
                nodes.count_images,
                inputs=["image_index@summary", "image_status@summary"],
                outputs="image_counts",
                name="count_images",
            ),
        ],
        tags="featurization",
    )
