"""What an encoder is: its identity (the fingerprint), its card, and the bytes that run it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from fruits_pipeline.images import PREPROCESSING

if TYPE_CHECKING:
    from fruits_pipeline.parameters import EncoderParameters

ARITHMETIC: Final = {"float32": "", "bfloat16": "four images per call"}
"""How the workers compute in each precision today, where another way gives other features by rounding."""

IMAGES_PER_CALL: Final = {"bfloat16": 4}
"""Precisions whose network is compiled for so many images at once, and takes no less time for fewer."""


@dataclass(frozen=True)
class EncoderCard:
    """Which encoder made a feature.

    Attributes:
        name: Architecture.
        alpha: Width multiplier.
        engine: `onnx` or `tensorflow`.
        weights: The weights as the parameters named them.
        weights_sha256: Of the weights file; for random weights, of the arrays.
        preprocessing: Name and version of what made the pixels.
        precision: `float32` or `bfloat16`, of the arithmetic in the workers.
        arithmetic: How the workers compute in that precision, a value of `ARITHMETIC`; empty where there is one way.
        exported_with: Versions of the packages that made the payload, and how far it is from Keras.
    """

    name: str
    alpha: float
    engine: str
    weights: str
    weights_sha256: str
    preprocessing: str = PREPROCESSING
    precision: str = "float32"
    arithmetic: str = ""
    exported_with: dict[str, Any] = field(default_factory=dict)

    @cached_property  # read once for every image
    def fingerprint(self) -> str:
        """16 hex digits over everything that can change a feature; equal fingerprints, equal features."""
        parts = [self.name, float(self.alpha), self.engine, self.weights_sha256, self.preprocessing]
        # Nothing for float32, which was the only precision when the first fingerprints were given.
        parts += [part for part in (self.precision, self.arithmetic) if part not in ("float32", "")]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def images_per_call(self, wanted: int) -> int:
        """How many images one call of the network takes: as many as wanted, where any number will do.

        Args:
            wanted: `featurization.batch_size`.
        """
        return IMAGES_PER_CALL.get(self.precision, wanted)

    @property
    def summary(self) -> str:
        """One line for logs and reports."""
        runs_as = f"{self.engine} {self.precision} ({self.fingerprint})"
        return f"{self.name} alpha {self.alpha:g}, weights {self.weights}, {runs_as}"

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-ready values, fingerprint included."""
        return {"fingerprint": self.fingerprint, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderCard:
        """Reads what `to_dict` wrote."""
        return cls(**{key: value for key, value in values.items() if key != "fingerprint"})


@dataclass(frozen=True)
class Encoder:
    """A card and the bytes that run it: an ONNX file, or for the tensorflow engine the weights as safetensors."""

    card: EncoderCard
    payload: bytes = field(repr=False)


@dataclass(frozen=True)
class EncoderWeights:
    """Weights as they were found.

    Attributes:
        spec: `bundled`, `imagenet`, `random:<seed>`, or a path.
        content: Bytes of the Keras weights file; None where Keras must make or download the weights.
    """

    spec: str
    content: bytes | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str | None:
        """Of the file's bytes; None when there is no file yet."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def seed(self) -> int | None:
        """The seed of `random:<seed>`, or None."""
        return int(self.spec.removeprefix("random:")) if self.spec.startswith("random:") else None


def is_same_encoder(card: EncoderCard, parameters: EncoderParameters, weights: EncoderWeights) -> bool:
    """Says whether an exported encoder is the one that these parameters and weights ask for.

    Weights with a file are compared by its SHA-256, so that a renamed or moved file is still the same encoder and a
    changed one is not. Random weights, and ImageNet weights that are not on this machine, are compared by name.
    """
    precision = parameters.precision
    asked = (parameters.name, parameters.alpha, parameters.engine, PREPROCESSING, precision, ARITHMETIC[precision])
    if (card.name, card.alpha, card.engine, card.preprocessing, card.precision, card.arithmetic) != asked:
        return False
    return card.weights == weights.spec if weights.sha256 is None else card.weights_sha256 == weights.sha256
