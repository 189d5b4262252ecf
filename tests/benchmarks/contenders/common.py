"""What all contenders share: the clock, the line that they print, the list of images, and the exported encoder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from fruits_pipeline.encoders.card import Encoder

MARK = "RESULT "
"""Before the JSON that a contender prints as its last line."""

ROWS_PER_CALL = 64
"""Images that a framework hands to its Python function at once."""

IMAGES_PER_CALL = 16
"""Images that the network is given at once, as in `ours` (`featurization.batch_size`)."""


class Clock:
    """Seconds by stage, counted from the start of the process (the harness notes it just before)."""

    def __init__(self) -> None:
        """The first stage has been running since the process was started."""
        self._last = float(os.environ.get("FRUITS_BENCH_STARTED", time.time()))
        self.stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Ends a stage."""
        now = time.time()
        self.stages[stage] = round(now - self._last, 3)
        self._last = now


def report(**values: Any) -> None:
    """Prints the one line that the harness reads."""
    print(MARK + json.dumps(values), flush=True)


def list_images(folder: str) -> list[str]:
    """All .jpg files below a folder, in order."""
    return sorted(str(path) for path in Path(folder).rglob("*.jpg"))


def load_encoder(folder: str) -> Encoder:
    """The encoder that `kedro run` exported last into `<output>/06_models/encoders`."""
    from fruits_pipeline.encoders.card import Encoder, EncoderCard

    card = EncoderCard.from_dict(json.loads((Path(folder) / "current.json").read_text()))
    return Encoder(card, (Path(folder) / f"{card.fingerprint}.onnx").read_bytes())


class Featurizer:
    """Our decode and our network, for one core: what `bare_loop`, `with_daft` and `with_ray` have in common."""

    def __init__(self, encoder_folder: str) -> None:
        """Loads the network.

        Args:
            encoder_folder: `06_models/encoders` of a run.
        """
        from fruits_pipeline.encoders.runtime import open_network
        from fruits_pipeline.images import decode

        self._decode, self._network = decode, open_network(load_encoder(encoder_folder), threads=1)

    def pixels(self, contents: Iterable[bytes]) -> np.ndarray:
        """(n, 224, 224, 3) uint8 of n files."""
        import numpy as np

        return np.stack([self._decode(content).pixels for content in contents])

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 1280) float32 of n images, in one call of the network."""
        return self._network(pixels)

    def featurize(self, paths: Iterable[str]) -> np.ndarray:
        """(n, 1280) float32 of n files, `IMAGES_PER_CALL` at a time."""
        import numpy as np

        files = [Path(path.removeprefix("file://")) for path in paths]
        calls = (files[i : i + IMAGES_PER_CALL] for i in range(0, len(files), IMAGES_PER_CALL))
        return np.concatenate([self.features(self.pixels(file.read_bytes() for file in call)) for call in calls])
