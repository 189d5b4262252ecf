"""Wiring of the reporting pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.reporting import nodes


def create_pipeline() -> Pipeline:
    """Figures, the list of bad images, and the report of the run."""
    return Pipeline(
        [
            Node(nodes.draw_scree, inputs="pca", outputs="scree_plot", name="draw_scree"),
            Node(
                nodes.draw_component_scatter,
                inputs=["reduced_features", "pca", "params:reporting"],
                outputs="component_scatter",
                name="draw_component_scatter",
            ),
            Node(nodes.list_quarantine, inputs="image_status", outputs="quarantine", name="list_quarantine"),
            Node(
                nodes.write_run_report,
                inputs=["image_counts", "ignored_files", "quarantine", "encoder", "pca", "run", "parameters"],
                outputs="run_report",
                name="write_run_report",
            ),
        ],
        tags="reporting",
    )
