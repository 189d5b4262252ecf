"""Wiring of the reporting pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.reporting import nodes


def create_pipeline() -> Pipeline:
    """Figures, the list of bad images, and the report of the run."""
    return Pipeline(
        [
            Node(nodes.draw_scree, inputs="fit", outputs="scree_plot", name="draw_scree"),
            Node(
                nodes.draw_component_scatter,
                inputs=["reduced_features", "fit", "params:reporting"],
                outputs="component_scatter",
                name="draw_component_scatter",
            ),
            Node(
                nodes.list_quarantine,
                inputs="image_status@spark",
                outputs=["quarantine", "quarantine_table"],
                name="list_quarantine",
            ),
            Node(
                nodes.write_run_report,
                inputs=["image_counts", "ignored_files", "quarantine_table", "encoder", "fit", "run", "parameters"],
                outputs=["run_report", "kept_report"],
                name="write_run_report",
            ),
            Node(nodes.list_runs, inputs=["kept_reports", "run_report"], outputs="runs", name="list_runs"),
        ],
        tags="reporting",
    )
