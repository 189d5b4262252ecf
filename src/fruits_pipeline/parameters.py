"""The typed parameters: one frozen model per pipeline, validated by Kedro before any node runs.

Kedro finds these models through the type hints of the nodes. The values stand in
`conf/base/parameters_<pipeline>.yml`, and `kedro run --params=pca.variance=0.9` overrides them.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fruits_pipeline.images import MAX_PIXELS
from fruits_pipeline.schemas import N_FEATURES

GROUPS = (
    "ingestion",
    "labeling",
    "encoder",
    "featurization",
    "scaling",
    "pca",
    "reporting",
    "apply",
    "maintenance",
    "forget",
)
"""Top-level names of the parameters."""


class _Parameters(BaseModel):
    """Frozen, and strict about names: a misspelt parameter is an error, not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_extensions(values: tuple[str, ...]) -> tuple[str, ...]:
    """Lower case, without the dot; what no file name can end in is refused."""
    extensions = tuple(value.lower().removeprefix(".") for value in values)
    for extension in extensions:
        if not re.fullmatch(r"[^\s./*?]+", extension):
            raise ValueError(f"{extension!r} is no file name extension; write jpg, not *.jpg")
    return extensions


class IngestionParameters(_Parameters):
    """Which files count as images.

    Attributes:
        extensions: File name extensions, compared without regard to case.
    """

    extensions: Annotated[tuple[str, ...], AfterValidator(_as_extensions)] = Field(min_length=1)


class LabelingParameters(_Parameters):
    """Where the label of an image stands.

    Attributes:
        folder_level: 1 for the folder that holds the file, 2 for the folder above it, and so on.
    """

    folder_level: int = Field(ge=1, le=32)


class EncoderParameters(_Parameters):
    """The network that turns an image into features.

    Attributes:
        name: Architecture; MobileNetV2 is the only one so far.
        alpha: Width multiplier. Above 1.0 MobileNetV2 has more than 1280 features, so 1.0 is the largest.
        weights: `bundled`, `imagenet`, `random:<seed>`, or the path of a Keras weights file (local or s3://).
        engine: `onnx` (fast; workers need no TensorFlow) or `tensorflow` (the reference).
        precision: `float32`, or `bfloat16`: twice as fast on CPUs that multiply in it, and other features.
    """

    name: Literal["MobileNetV2"]
    alpha: float = Field(gt=0, le=1)
    weights: str = Field(min_length=1)
    engine: Literal["onnx", "tensorflow"]
    precision: Literal["float32", "bfloat16"]

    @model_validator(mode="after")
    def _reference_is_float32(self) -> Self:
        if self.engine == "tensorflow" and self.precision != "float32":
            raise ValueError("engine tensorflow is the float32 reference; precision bfloat16 needs engine onnx")
        return self


class FeaturizationParameters(_Parameters):
    """How images are read and sent through the encoder.

    Attributes:
        batch_size: Images per call of the network; in bfloat16 they are always four.
        images_per_task: Upper bound of images in one Spark task; smaller means finer progress and retries.
        read_ahead: Files read in advance by each worker, to hide the latency of storage.
        max_pixels: Larger images (width × height) are quarantined as `too_large`. Pillow opens none that have more
            than twice its own limit.
        max_quarantined: Share of the listed images (0 … 1) that may be in quarantine before a run fails.
        refresh: Featurise all images again, also those that are done.
    """

    batch_size: int = Field(ge=1, le=256)
    images_per_task: int = Field(ge=1)
    read_ahead: int = Field(ge=0, le=256)
    max_pixels: int = Field(ge=1, le=2 * MAX_PIXELS)
    max_quarantined: float = Field(ge=0, le=1)
    refresh: bool


class ScalingParameters(_Parameters):
    """How the moments are summed.

    Attributes:
        block_rows: Rows per matrix product; bounds a worker's memory (1024 rows are 10 MB).
    """

    block_rows: int = Field(ge=1, le=65536)


class PcaParameters(_Parameters):
    """How many components are kept.

    Attributes:
        variance: Share of the variance that the components must reach, 0 < variance ≤ 1.
        n_components: Keep exactly this many instead; null to go by `variance`.
    """

    variance: float = Field(gt=0, le=1)
    n_components: int | None = Field(default=None, ge=1, le=N_FEATURES)


class ReportingParameters(_Parameters):
    """What the figures show.

    Attributes:
        scatter_points: Images drawn at most in the scatter of the first two components.
    """

    scatter_points: int = Field(ge=1, le=100_000)


class ApplyParameters(_Parameters):
    """With which earlier fit `kedro run --pipelines=apply` projects.

    Attributes:
        fit: Its 16 hex digits; null for the one in use.
    """

    fit: str | None = Field(default=None, pattern="^[0-9a-f]{16}$")


class MaintenanceParameters(_Parameters):
    """How `kedro run --pipelines=maintenance` puts batches together.

    Attributes:
        rows_per_file: Rows of one Parquet file, about; 20,000 are 100 MB.
        keep_replaced_hours: How long replaced batches stay on the disk, for readers that have begun.
    """

    rows_per_file: int = Field(ge=1)
    keep_replaced_hours: float = Field(ge=0)


def _as_list(value: object) -> object:
    """Several values in one text, as the command line gives them, are separated by semicolons."""
    parts = (part.strip() for part in value.split(";")) if isinstance(value, str) else None
    return value if parts is None else tuple(part for part in parts if part)


_Texts = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class ForgetParameters(_Parameters):
    """What `kedro run --pipelines=forget` removes: images that one of the lists names.

    Attributes:
        paths: As they stand in the tables; with a slash at the end, all below that folder.
        labels: All images of these labels.
        sha256: All files with these contents, under whatever name.
    """

    paths: _Texts = ()
    labels: _Texts = ()
    sha256: _Texts = ()
