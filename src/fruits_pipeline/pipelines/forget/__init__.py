"""The forget pipeline."""

from fruits_pipeline.pipelines.forget.pipeline import create_pipeline

__all__ = ["create_pipeline"]
