"""The pipelines by name, for `kedro run --pipelines=…`."""

from kedro.pipeline import Pipeline

from fruits_pipeline.pipelines import (
    apply,
    featurization,
    forget,
    ingestion,
    labeling,
    maintenance,
    pca,
    reporting,
    scaling,
)


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines, and `__default__`: the whole way from photographs to the report.

    `apply` is that way with an earlier fit. `maintenance` and `forget` work on what is there.
    """
    rooms = (ingestion, labeling, featurization, scaling, pca, reporting)
    pipelines = {room.__name__.rpartition(".")[2]: room.create_pipeline() for room in rooms}
    fitted_before = [pipelines[name] for name in ("ingestion", "labeling", "featurization", "reporting")]
    return {
        **pipelines,
        "__default__": sum(pipelines.values(), start=Pipeline([])),
        "apply": sum(fitted_before, start=apply.create_pipeline()),
        "maintenance": maintenance.create_pipeline(),
        "forget": forget.create_pipeline(),
    }
