"""fruits_pipeline: from a bucket of labelled fruit photographs to trustworthy features."""

__version__ = "0.1.0"
