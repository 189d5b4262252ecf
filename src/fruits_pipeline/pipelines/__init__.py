"""The pipelines: ingestion, labeling, featurization, scaling, pca, reporting."""
