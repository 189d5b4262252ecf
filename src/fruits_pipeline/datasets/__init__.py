"""The few Kedro datasets that the ecosystem lacks."""

from fruits_pipeline.datasets.arrays import ArraysDataset
from fruits_pipeline.datasets.committed_batches import CommittedBatchesDataset
from fruits_pipeline.datasets.encoders import EncoderDataset, EncoderWeightsDataset, ExportedEncodersDataset
from fruits_pipeline.datasets.image_folder import ImageFolderDataset

__all__ = [
    "ArraysDataset",
    "CommittedBatchesDataset",
    "EncoderDataset",
    "EncoderWeightsDataset",
    "ExportedEncodersDataset",
    "ImageFolderDataset",
]
