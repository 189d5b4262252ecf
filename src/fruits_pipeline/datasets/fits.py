"""Fits on disk or in a bucket: every one that was ever made stays, under its fingerprint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from safetensors.numpy import load, save

from fruits_pipeline.datasets.cards import CardFolder
from fruits_pipeline.fits import Fit, FitCard

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class KeptFit:
    """One fit of an earlier run, and how to load it.

    Attributes:
        card: What is known of it.
        is_current: Whether it made the rows of `reduced_features`, as far as the last run came.
        load: Reads its arrays.
    """

    card: FitCard
    is_current: bool
    load: Callable[[], Fit]


class KeptFitsDataset(AbstractDataset[None, list[KeptFit]]):
    """All fits that were made so far; read-only, the same folder that `FitDataset` writes to."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            filepath: Folder of the fits, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> list[KeptFit]:
        """Reads the cards, oldest first; arrays are read when they are asked for."""
        folder = CardFolder(self._filepath)
        current = folder.current()["fit"] if folder.has_current() else None
        cards = sorted((FitCard(**card) for card in folder.cards()), key=lambda card: card.run_id)
        return [KeptFit(card, card.fit == current, functools.partial(_load, folder, card)) for card in cards]

    def save(self, data: None) -> None:
        """Fits are saved through `FitDataset`.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("kept_fits is read-only; save to `fit`.")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class FitDataset(AbstractDataset[Fit, Fit]):
    """The fit of the latest run, kept beside all earlier ones under its fingerprint."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            filepath: Folder of the fits, local or s3://.
            metadata: Ignored here; for Kedro-Viz.
        """
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> Fit:
        """The fit that was saved last."""
        folder = CardFolder(self._filepath)
        return _load(folder, FitCard(**folder.current()))

    def save(self, data: Fit) -> None:
        """Adds the fit, unless it is there, and makes it the current one."""
        folder = CardFolder(self._filepath)
        folder.add(data.card.fit, data.card.to_dict(), _SUFFIX, save(data.arrays))
        folder.make_current(data.card.to_dict())

    def _exists(self) -> bool:
        return CardFolder(self._filepath).has_current()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


def _load(folder: CardFolder, card: FitCard) -> Fit:
    return Fit(card, load(folder.payload(f"{card.fit}{_SUFFIX}")))
