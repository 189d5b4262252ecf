"""The pca pipeline."""

from fruits_pipeline.pipelines.pca.pipeline import create_pipeline

__all__ = ["create_pipeline"]
