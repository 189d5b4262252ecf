"""Measures what one core of this machine does: real decoding, the real network, on some of the images themselves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from fruits_pipeline.emr.settings import Model, read_conf, validated
from fruits_pipeline.encoders.card import Encoder, is_same_encoder
from fruits_pipeline.encoders.runtime import Network, open_network
from fruits_pipeline.encoders.weights import find_weights
from fruits_pipeline.errors import InputError
from fruits_pipeline.images import UnusableImageError, decode
from fruits_pipeline.parameters import EncoderParameters
from fruits_pipeline.storage import read_file
from fruits_pipeline.workers.featurization import decoded_together, groups

SAMPLE = 64
"""Images measured: a second or less, and enough to be within a few per cent on a quiet machine."""


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        per_second: Images a second of one core.
        images: How many were measured.
        encoder: Which network.
    """

    per_second: float
    images: int
    encoder: str


def measure(
    paths: Sequence[str], encoder: Encoder, batch_size: int, clock: Callable[[], float] = time.perf_counter
) -> Speed:
    """Decodes and encodes images on one core, as many at a time as a Spark task decodes and as it encodes.

    Args:
        paths: Files to measure, local or s3://; reading them is not measured, because the workers read ahead.
        encoder: The network.
        batch_size: Images per call of the network.
        clock: Seconds.

    Returns:
        The speed. Images that cannot be decoded are left out, their time is not.

    Raises:
        InputError: If not one image can be decoded.
    """
    network = open_network(encoder, threads=1)
    contents = [file.content for file in map(read_file, paths) if not file.problem]
    images_per_call = encoder.card.images_per_call(batch_size)
    _encode(contents[:images_per_call], network, images_per_call)  # the first call allocates memory
    start = clock()
    done = _encode(contents, network, images_per_call)
    seconds = clock() - start
    if not done:
        raise InputError(
            f"None of the {len(paths)} images tried can be decoded, so nothing can be measured. "
            "Give another folder, or --images-per-second."
        )
    return Speed(done / seconds, done, encoder.card.summary)


def _encode(contents: Iterable[bytes], network: Network, images_per_call: int) -> int:
    """How many of the images became features."""
    done = 0
    for images in groups(_decoded(contents), decoded_together(images_per_call)):
        done += sum(len(network(np.stack(batch))) for batch in groups(images, images_per_call))
    return done


def _decoded(contents: Iterable[bytes]) -> Iterator[np.ndarray]:
    """The pixels of the images that can be decoded."""
    for content in contents:
        with contextlib.suppress(UnusableImageError):
            yield decode(content).pixels


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` items, evenly spaced: images of one folder resemble each other."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def read_parameters(model: type[Model], group: str, conf_source: Path, env: str, params: str = "") -> Model:
    """What the pipeline would use to featurise.

    Args:
        model: `EncoderParameters` or `FeaturizationParameters`.
        group: Its name in the parameters, `encoder` or `featurization`.
        conf_source: Configuration.
        env: Its environment.
        params: As for `kedro run --params`.

    Raises:
        InputError: If the pipeline would refuse them.
    """
    given = OmegaConf.from_dotlist([part.strip() for part in params.split(",") if part.strip()])
    merged = OmegaConf.merge(OmegaConf.create(read_conf(conf_source, env, "parameters")), given)
    asked: Any = OmegaConf.to_container(merged)
    return validated(model, asked[group], "--params or conf/base/parameters_featurization.yml")


def extensions(conf_source: Path, env: str) -> list[str]:
    """Which files count as images, lower case and without dots."""
    names: list[str] = read_conf(conf_source, env, "parameters")["ingestion"]["extensions"]
    return [name.lower().removeprefix(".") for name in names]


def local_encoder(folder: Path, parameters: EncoderParameters) -> Encoder:
    """The encoder that an earlier run exported, or one exported now.

    Args:
        folder: Of exported encoders.
        parameters: Which network.

    Returns:
        The encoder.

    Raises:
        EncoderError: If it must be exported and cannot be (no TensorFlow).
    """
    from fruits_pipeline.datasets.encoders import ExportedEncodersDataset

    weights = find_weights(parameters.weights, parameters.alpha)
    for exported in ExportedEncodersDataset(filepath=str(folder)).load():
        if is_same_encoder(exported.card, parameters, weights):
            return exported.load()
    from fruits_pipeline.encoders.export import export_encoder

    return export_encoder(parameters, weights)
