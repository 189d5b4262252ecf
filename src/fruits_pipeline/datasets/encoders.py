"""The encoder in the catalog: its weights, the networks exported so far, and the one that this run uses."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from fruits_pipeline.datasets.files import open_store, write_whole
from fruits_pipeline.encoders.card import Encoder, EncoderCard, EncoderWeights
from fruits_pipeline.encoders.weights import find_weights

CURRENT = "current.json"
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


class _EncoderFolder:
    """`<fingerprint>.json` (the card) and `<fingerprint>.onnx` or `.safetensors` beside it, for each encoder.

    The card is written after the payload, so an encoder with a card is whole.
    """

    def __init__(self, filepath: str) -> None:
        self._fs, path = open_store(filepath)
        self.path = path.rstrip("/")

    def cards(self) -> list[EncoderCard]:
        """The cards of all exported encoders."""
        if not self._fs.isdir(self.path):
            return []
        names = [name.rsplit("/", 1)[-1] for name in self._fs.ls(self.path, detail=False)]
        return [self.card(name) for name in sorted(names) if name.endswith(".json") and name != CURRENT]

    def card(self, name: str) -> EncoderCard:
        return EncoderCard.from_dict(json.loads(self._fs.cat_file(f"{self.path}/{name}")))

    def encoder(self, card: EncoderCard) -> Encoder:
        return Encoder(card, self._fs.cat_file(self._payload_path(card)))

    def add(self, encoder: Encoder) -> None:
        card_path = f"{self.path}/{encoder.card.fingerprint}.json"
        if not self._fs.exists(card_path):
            write_whole(self._fs, self._payload_path(encoder.card), encoder.payload)
            write_whole(self._fs, card_path, _json(encoder.card))

    def make_current(self, card: EncoderCard) -> None:
        write_whole(self._fs, f"{self.path}/{CURRENT}", _json(card))

    def has_current(self) -> bool:
        return bool(self._fs.exists(f"{self.path}/{CURRENT}"))

    def _payload_path(self, card: EncoderCard) -> str:
        return f"{self.path}/{card.fingerprint}{_SUFFIX[card.engine]}"


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
        folder = _EncoderFolder(self._filepath)
        return [ExportedEncoder(card, functools.partial(folder.encoder, card)) for card in folder.cards()]

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
        folder = _EncoderFolder(self._filepath)
        return folder.encoder(folder.card(CURRENT))

    def save(self, data: Encoder) -> None:
        """Adds the encoder, unless it is there, and makes it the current one."""
        folder = _EncoderFolder(self._filepath)
        folder.add(data)
        folder.make_current(data.card)

    def _exists(self) -> bool:
        return _EncoderFolder(self._filepath).has_current()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


def _json(card: EncoderCard) -> bytes:
    return json.dumps(card.to_dict(), indent=2, ensure_ascii=False).encode()
