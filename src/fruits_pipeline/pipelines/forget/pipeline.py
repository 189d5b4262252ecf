"""Wiring of the forget pipeline."""

from kedro.pipeline import Node, Pipeline

from fruits_pipeline.pipelines.forget import nodes
from fruits_pipeline.pipelines.reporting.nodes import draw_component_scatter, list_quarantine

TABLES = ("image_index@spark", "labeled_images", "image_status@spark", "reduced_features")
"""Tables that each run writes anew. `featurized_images` comes last: while it has the rows, a rerun finds the images."""


def create_pipeline() -> Pipeline:
    """Everything derived from some images, removed; what is left is `remaining_…`, the same tables."""
    remaining = [*(f"remaining_{table}" for table in TABLES), "remaining_image_counts"]
    return Pipeline(
        [
            Node(
                nodes.find_forgotten,
                inputs=["committed_images", "labeled_images", "params:forget"],
                outputs="forgotten",
                name="find_forgotten",
            ),
            Node(
                nodes.count_forgotten,
                inputs=["committed_images", *TABLES, "raw_images", "forgotten", "run"],
                outputs="forgotten_counts",
                name="count_forgotten",
            ),
            *(create_drop(table) for table in TABLES),
            create_count(),
            Node(
                list_quarantine,
                inputs="remaining_image_status@spark",
                outputs=["quarantine", "quarantine_table"],
                name="list_remaining_quarantine",
            ),
            Node(
                draw_component_scatter,
                inputs=["remaining_reduced_features", "fit", "params:reporting"],
                outputs="component_scatter",
                name="draw_remaining_components",
            ),
            Node(
                nodes.drop_forgotten,
                inputs=["committed_images", "forgotten", *remaining, "quarantine", "component_scatter"],
                outputs="remaining_featurized_images",
                name="drop_from_featurized_images",
            ),
            Node(
                nodes.report_forgotten,
                inputs=["forgotten_counts", "remaining_featurized_images"],
                outputs="forgotten_report",
                name="report_forgotten",
            ),
        ],
        tags="forget",
    )


def create_drop(table: str) -> Node:
    """The node that writes one of the `TABLES` without the forgotten images."""
    return Node(
        nodes.drop_forgotten,
        inputs=[table, "forgotten", "forgotten_counts"],
        outputs=f"remaining_{table}",
        name=f"drop_from_{table.partition('@')[0]}",
    )


def create_count() -> Node:
    """The node that tells the next fit which features are left."""
    return Node(
        nodes.count_remaining_features,
        inputs=["image_counts", "remaining_image_status@summary"],
        outputs="remaining_image_counts",
        name="count_remaining_features",
    )
