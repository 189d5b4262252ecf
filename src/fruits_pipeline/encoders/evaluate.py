"""Measures an encoder on Fruits-360 photographs: does the nearest neighbour show the same fruit?

Run it with `python -m fruits_pipeline.encoders.evaluate --images DIR --weights FILE`. Weights are named as in
the parameter `encoder.weights`: `bundled`, `imagenet`, `random:<seed>` or a file.
"""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fruits_pipeline.images import decode, scaled

FRAMES_PER_TURN = 329
"""Fruits-360 films a fruit on a turntable: `<frame>_100.jpg` shows it after frame/329 of a turn."""

ARCS = 8
QUERY_FRAMES = 40
GAP_FRAMES = 48
# 44 degrees of queries, 53 degrees without gallery on both sides: neighbouring frames are near-duplicates,
# and without the gap any network finds them.


@dataclass(frozen=True)
class Photographs:
    """Photographs ready for the encoder.

    Attributes:
        pixels: (n, 224, 224, 3) uint8, RGB.
        kinds: (n,) str, the fruit (name of the folder).
        frames: (n,) int, position on the turntable, 0 … 328.
    """

    pixels: np.ndarray
    kinds: np.ndarray
    frames: np.ndarray


@dataclass(frozen=True)
class Quality:
    """What `evaluate` found.

    Attributes:
        seen: Share (0 … 1) of queries of training kinds whose nearest neighbour shows the same kind.
        unseen: The same for the kinds that the training did not see; NaN if there are none.
        overall: The same for all queries.
        components: Principal components for 95 % of the variance of the standardised features.
    """

    seen: float
    unseen: float
    overall: float
    components: int


def read_photographs(folder: Path, exclude: Sequence[str] = ()) -> Photographs:
    """Reads `<folder>/<kind>/*.jpg` as the pipeline does.

    Args:
        folder: One sub-folder per kind.
        exclude: Kinds to leave out.

    Returns:
        All photographs, ordered by path.
    """
    paths = [path for path in sorted(folder.glob("*/*.jpg")) if path.parent.name not in exclude]
    if not paths:
        raise FileNotFoundError(f"There are no photographs in {folder}/<kind>/*.jpg.")
    pixels = np.stack([decode(path.read_bytes()).pixels for path in paths])
    kinds = np.array([path.parent.name for path in paths])
    return Photographs(pixels, kinds, np.array([frame_number(path.name) for path in paths]))


def frame_number(file_name: str) -> int:
    """The frame of `105_100.jpg` or `r_105_100.jpg` is 105; `r_` marks a second axis of rotation."""
    found = re.fullmatch(r"(?:r\d*_)?(\d+)_100\.jpg", file_name)
    return int(found[1]) % FRAMES_PER_TURN if found else 0


def compute_features(network: Any, pixels: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Runs a Keras network in inference mode.

    Args:
        network: (n, 224, 224, 3) float32 in -1 … 1 to (n, d) features.
        pixels: (n, 224, 224, 3) uint8.
        batch_size: Images per call.

    Returns:
        (n, d) float32.
    """
    starts = range(0, len(pixels), batch_size)
    batches = [scaled(pixels[start : start + batch_size].astype(np.float32)) for start in starts]
    return np.concatenate([np.asarray(network(batch, training=False)) for batch in batches])


def standardise(features: np.ndarray) -> np.ndarray:
    """Each feature to mean 0 and standard deviation 1, as scikit-learn's StandardScaler; constant ones to 0.

    Args:
        features: (n, d) float.

    Returns:
        (n, d) float64.
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0))


def count_components(standardised: np.ndarray, variance: float = 0.95) -> int:
    """Smallest number of principal components that hold this share of the variance.

    Args:
        standardised: (n, d) float, columns of mean 0.
        variance: Share, 0 … 1.
    """
    power = np.linalg.svd(standardised, compute_uv=False) ** 2
    share = np.cumsum(power) / power.sum()
    return int(np.searchsorted(share, variance) + 1)


def neighbour_hits(features: np.ndarray, kinds: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Looks for the nearest neighbour of each photograph among those taken from a very different side.

    The turntable has 8 arcs; the queries of an arc are the frames within 22 degrees of its centre, their
    gallery is every photograph that is at least 53 degrees further away. Both axes of rotation are pooled.

    Args:
        features: (n, d) float, standardised.
        kinds: (n,) str.
        frames: (n,) int, 0 … 328.

    Returns:
        (m,) bool, whether the neighbour shows the query's kind; (m,) str, the kind of the query.
    """
    hits, asked = [np.zeros(0, bool)], [kinds[:0]]
    for centre in np.arange(ARCS) * FRAMES_PER_TURN / ARCS:
        away = np.abs((frames - centre + FRAMES_PER_TURN / 2) % FRAMES_PER_TURN - FRAMES_PER_TURN / 2)
        queries, gallery = away < QUERY_FRAMES / 2, away > QUERY_FRAMES / 2 + GAP_FRAMES
        if queries.any() and gallery.any():
            nearest = nearest_rows(features[gallery], features[queries])
            hits.append(kinds[gallery][nearest] == kinds[queries])
            asked.append(kinds[queries])
    return np.concatenate(hits), np.concatenate(asked)


def nearest_rows(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Row of the gallery that is nearest (Euclidean) to each query: (g, d) and (q, d) to (q,) int."""
    distances = (gallery**2).sum(axis=1)[None, :] - 2.0 * queries @ gallery.T
    return np.asarray(distances.argmin(axis=1))


def evaluate(features: np.ndarray, photographs: Photographs, unseen: Sequence[str] = ()) -> Quality:
    """Judges features by nearest neighbours and by the number of principal components.

    Args:
        features: (n, d) float, of these photographs.
        photographs: With kinds and frames.
        unseen: Kinds that the training did not see.
    """
    standardised = standardise(features)
    hits, asked = neighbour_hits(standardised, photographs.kinds, photographs.frames)
    new = np.isin(asked, list(unseen))
    return Quality(_share(hits[~new]), _share(hits[new]), _share(hits), count_components(standardised))


def describe(quality: Quality) -> str:
    """One line for people."""
    apart = "" if math.isnan(quality.unseen) else f" (seen {quality.seen:.1%}, unseen {quality.unseen:.1%})"
    return f"same kind {quality.overall:.1%}{apart}, {quality.components} components for 95 %"


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def load_network(weights: str, alpha: float) -> Any:
    """Builds the pooled 1280-feature network with the weights that `weights` names."""
    from fruits_pipeline.encoders.keras_network import build_network
    from fruits_pipeline.encoders.weights import find_weights
    from fruits_pipeline.parameters import EncoderParameters

    parameters = EncoderParameters(
        name="MobileNetV2", alpha=alpha, weights=weights, engine="tensorflow", precision="float32"
    )
    return build_network(parameters, find_weights(weights, alpha))[0]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m fruits_pipeline.encoders.evaluate", description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder with one sub-folder per kind")
    add("--weights", default="bundled", help="bundled, imagenet, random:<seed> or a file")
    add("--alpha", type=float, default=0.35, help="width of the network")
    add("--unseen", nargs="*", default=[], metavar="KIND", help="kinds that the training did not see")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the quality of one weights file."""
    asked = parse_arguments(arguments)
    photographs = read_photographs(asked.images)
    features = compute_features(load_network(asked.weights, asked.alpha), photographs.pixels)
    quality = evaluate(features, photographs, asked.unseen)
    print(f"{asked.weights} alpha {asked.alpha:g}, {len(features)} photographs: {describe(quality)}")


if __name__ == "__main__":
    main()
