"""A folder of things that are kept for good, each under its fingerprint: a card in JSON, and its bytes beside it."""

from __future__ import annotations

import json
from typing import Any, Final

from fruits_pipeline.datasets.files import open_store, write_whole

CURRENT: Final = "current.json"


class CardFolder:
    """`<key>.json` (the card) and `<key><suffix>` (the payload) for each thing, and `current.json`, the card in use.

    The card is written after the payload, so a thing with a card is whole.
    """

    def __init__(self, filepath: str) -> None:
        """Reads nothing yet.

        Args:
            filepath: The folder, local or s3://.
        """
        self._fs, path = open_store(filepath)
        self.path = path.rstrip("/")

    def cards(self) -> list[dict[str, Any]]:
        """All cards, in the order of their keys."""
        if not self._fs.isdir(self.path):
            return []
        names = [name.rsplit("/", 1)[-1] for name in self._fs.ls(self.path, detail=False)]
        return [self._card(name) for name in sorted(names) if name.endswith(".json") and name != CURRENT]

    def current(self) -> dict[str, Any]:
        """The card in use.

        Raises:
            FileNotFoundError: If there is none.
        """
        return self._card(CURRENT)

    def has_current(self) -> bool:
        """Whether there is a card in use."""
        return bool(self._fs.exists(f"{self.path}/{CURRENT}"))

    def payload(self, name: str) -> bytes:
        """The bytes of one thing."""
        content: bytes = self._fs.cat_file(f"{self.path}/{name}")
        return content

    def add(self, key: str, card: dict[str, Any], suffix: str, payload: bytes) -> None:
        """Adds a thing, unless there is one with this key."""
        card_path = f"{self.path}/{key}.json"
        if not self._fs.exists(card_path):
            write_whole(self._fs, f"{self.path}/{key}{suffix}", payload)
            write_whole(self._fs, card_path, _json(card))

    def make_current(self, card: dict[str, Any]) -> None:
        """Makes a card the one in use."""
        write_whole(self._fs, f"{self.path}/{CURRENT}", _json(card))

    def _card(self, name: str) -> dict[str, Any]:
        card: dict[str, Any] = json.loads(self._fs.cat_file(f"{self.path}/{name}"))
        return card


def _json(card: dict[str, Any]) -> bytes:
    return json.dumps(card, indent=2, ensure_ascii=False).encode()
