"""The maintenance pipeline."""

from fruits_pipeline.pipelines.maintenance.pipeline import create_pipeline

__all__ = ["create_pipeline"]
