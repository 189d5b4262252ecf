"""The few Kedro datasets that the ecosystem lacks."""

from fruits_pipeline.datasets.arrays import ArraysDataset
from fruits_pipeline.datasets.committed_batches import CommittedBatchesDataset
from fruits_pipeline.datasets.committed_table import CommittedTableDataset
from fruits_pipeline.datasets.encoders import EncoderDataset, EncoderWeightsDataset, ExportedEncodersDataset
from fruits_pipeline.datasets.fits import FitDataset, KeptFitsDataset
from fruits_pipeline.datasets.image_folder import ImageFolderDataset
from fruits_pipeline.datasets.run_reports import RunReportsDataset

__all__ = [
    "ArraysDataset",
    "CommittedBatchesDataset",
    "CommittedTableDataset",
    "EncoderDataset",
    "EncoderWeightsDataset",
    "ExportedEncodersDataset",
    "FitDataset",
    "ImageFolderDataset",
    "KeptFitsDataset",
    "RunReportsDataset",
]
