"""The scaling pipeline."""

from fruits_pipeline.pipelines.scaling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
