"""The pipelines by name, for `kedro run --pipelines=…`."""

from kedro.pipeline import Pipeline

from fruits_pipeline.pipelines import featurization, ingestion, labeling, pca, reporting, scaling


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines, and `__default__`: the whole way from photographs to the report."""
    rooms = (ingestion, labeling, featurization, scaling, pca, reporting)
    pipelines = {room.__name__.rpartition(".")[2]: room.create_pipeline() for room in rooms}
    return {**pipelines, "__default__": sum(pipelines.values(), start=Pipeline([]))}
