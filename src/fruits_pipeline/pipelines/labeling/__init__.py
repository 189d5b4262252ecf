"""The labeling pipeline."""

from fruits_pipeline.pipelines.labeling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
