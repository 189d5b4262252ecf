"""The encoder in the catalog: its weights, the networks exported so far, and the one that this run uses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from fruits_pipeline.datasets.cards import CardFolder
from fruits_pipeline.encoders.card import Encoder, EncoderCard, EncoderWeights
from fruits_pipeline.encoders.weights import find_weights

_SUFFIX = {"onnx": ".onnx", "tensorflow": ".safetensors"}


class EncoderWeightsDataset(AbstractDataset[None, EncoderWeights]):
    """The Keras weights that `encoder.weights` names; read-only."""

    def __init__(self, *, weights: str, alpha: float, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            weights: As `fruits_pipeline.encoders.weights.find_weights` takes it.
            alpha: Width multiplier, which names ImageNet's file.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._weights, self._alpha = str(weights), float(alpha)
        self.metadata = metadata

    def load(self) -> EncoderWeights:
        """Reads the weights file, if the weights come from one."""
        return find_weights(self._weights, self._alpha)

    def save(self, data: None) -> None:
        """Weights are an input.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("encoder_weights is read-only.")

    def _describe(self) -> dict[str, Any]:
        return {"weights": self._weights, "alpha": self._alpha}


@dataclass(frozen=True)
class ExportedEncoder:
    """One exported encoder: its card, and how to load it."""

    card: EncoderCard
    load: Callable[[], Encoder]


class ExportedEncodersDataset(AbstractDataset[None, list[ExportedEncoder]]):
    """All encoders exported so far; read-only, the same folder that `EncoderDataset` writes to."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            filepath: Folder of the exported encoders, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> list[ExportedEncoder]:
        """Reads the cards; a payload is read when it is asked for."""
        folder = CardFolder(self._filepath)
        cards = [EncoderCard.from_dict(stored) for stored in folder.cards()]
        return [ExportedEncoder(card, functools.partial(_load, folder, card)) for card in cards]

    def save(self, data: None) -> None:
        """Encoders are saved through `EncoderDataset`.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("exported_encoders is read-only; save to `encoder`.")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class EncoderDataset(AbstractDataset[Encoder, Encoder]):
    """The encoder of the latest run, kept beside all earlier ones under its fingerprint."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            filepath: Folder of the exported encoders, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> Encoder:
        """The encoder that was saved last."""
        folder = CardFolder(self._filepath)
        return _load(folder, EncoderCard.from_dict(folder.current()))

    def save(self, data: Encoder) -> None:
        """Adds the encoder, unless it is there, and makes it the current one."""
        folder, card = CardFolder(self._filepath), data.card
        folder.add(card.fingerprint, card.to_dict(), _SUFFIX[card.engine], data.payload)
        folder.make_current(card.to_dict())

    def _exists(self) -> bool:
        return CardFolder(self._filepath).has_current()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


def _load(folder: CardFolder, card: EncoderCard) -> Encoder:
    return Encoder(card, folder.payload(f"{card.fingerprint}{_SUFFIX[card.engine]}"))
