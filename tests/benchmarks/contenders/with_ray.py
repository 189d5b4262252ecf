"""The features with Ray Data and one actor per core: `with_ray.py IMAGES OUTPUT CORES ENCODERS`.

The same network and decode as ours; features only, no account of bad images, no scaling, no PCA. The actors read the
files themselves, which takes 60 % of the time that `read_binary_files` takes here.
"""

from __future__ import annotations

import logging
import os
import sys

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import ray
from common import ROWS_PER_CALL, Clock, Featurizer, list_images, report

Batch = dict[str, np.ndarray]


class Encode:
    """The actor: one network per process."""

    def __init__(self, encoders: str) -> None:
        """Loads the network from the folder of exported encoders."""
        self._featurizer = Featurizer(encoders)

    def __call__(self, batch: Batch) -> Batch:
        """1280 numbers for each file."""
        return {"path": batch["path"], "features": self._featurizer.featurize(batch["path"])}


def main(images_folder: str, output: str, cores: str, encoders: str) -> None:
    """Runs the job and prints its result."""
    clock = Clock()
    n = int(cores)
    # Ray counts CPUs, it does not bind them. The actors hold one each for good; without one more nothing could feed
    # them, and the job would wait forever.
    ray.init(num_cpus=n + 1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    clock.lap("imports_and_start")
    files = ray.data.from_items([{"path": path} for path in list_images(images_folder)])
    features = files.map_batches(
        Encode, fn_constructor_args=(encoders,), batch_size=ROWS_PER_CALL, concurrency=n, num_cpus=1
    )
    features.write_parquet(f"{output}/features")
    clock.lap("featurize_and_write")
    report(featurization_s=clock.stages["featurize_and_write"], stages=clock.stages)


if __name__ == "__main__":
    main(*sys.argv[1:])
