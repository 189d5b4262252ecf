"""The apply pipeline."""

from fruits_pipeline.pipelines.apply.pipeline import create_pipeline

__all__ = ["create_pipeline"]
