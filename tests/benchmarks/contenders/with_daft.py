"""The features with Daft's native runner, a class UDF in one process per core.

`with_daft.py IMAGES OUTPUT CORES ENCODERS`. The same network and decode as ours; features only, no account of bad
images, no scaling, no PCA. The UDF reads the files itself, which is faster here than Daft's `download()`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
os.environ.setdefault("DO_NOT_TRACK", "1")

import daft
from common import ROWS_PER_CALL, Clock, Featurizer, report
from daft import DataType


class Encode:
    """The UDF: one network per process."""

    def __init__(self, encoders: str) -> None:
        """Loads the network from the folder of exported encoders."""
        self._featurizer = Featurizer(encoders)

    @daft.method.batch(return_dtype=DataType.list(DataType.float32()), batch_size=ROWS_PER_CALL)
    def features(self, paths: daft.Series) -> list[Any]:
        """1280 numbers for each file."""
        return list(self._featurizer.featurize(paths.to_pylist()))


def main(images_folder: str, output: str, cores: str, encoders: str) -> None:
    """Runs the job and prints its result."""
    clock = Clock()
    daft.set_runner_native()
    clock.lap("imports")
    encode = daft.cls(use_process=True, max_concurrency=int(cores))(Encode)(encoders)
    files = daft.from_glob_path(f"{images_folder}/**/*.jpg")
    features = files.select("path", encode.features(daft.col("path")).alias("features"))
    features.write_parquet(f"{output}/features")
    clock.lap("featurize_and_write")
    report(featurization_s=clock.stages["featurize_and_write"], stages=clock.stages)


if __name__ == "__main__":
    main(*sys.argv[1:])
