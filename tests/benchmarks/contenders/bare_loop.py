"""The ceiling of the featurization: one process per core, our decode, our network, no Spark.

`bare_loop.py IMAGES OUTPUT CORES ENCODERS`. The processes wait for one another once they have loaded the network, so
that the loop is measured without any start-up; features stay in memory until each process writes its own Parquet file.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from common import IMAGES_PER_CALL, Clock, Featurizer, list_images, report

Seconds = dict[str, float]


def featurize_share(paths: list[str], output: Path, encoders: str, ready: Barrier) -> Seconds:
    """Does the share of one process.

    Args:
        paths: Its images.
        output: Its Parquet file.
        encoders: Folder of the exported encoder.
        ready: Passed by all processes at once.

    Returns:
        When the loop began and ended and when the file was written (seconds of `time.time`), and the seconds spent in
        reading, decoding (resize included) and inference.
    """
    import numpy as np

    featurizer = Featurizer(encoders)
    featurizer.features(featurizer.pixels([Path(paths[0]).read_bytes()]))
    ready.wait()
    began = time.time()
    spent = {"read": 0.0, "decode": 0.0, "inference": 0.0}
    features = np.empty((len(paths), 1280), np.float32)
    for row in range(0, len(paths), IMAGES_PER_CALL):
        call = slice(row, row + IMAGES_PER_CALL)
        start = time.perf_counter()
        contents = [Path(path).read_bytes() for path in paths[call]]
        read = time.perf_counter()
        pixels = featurizer.pixels(contents)
        decoded = time.perf_counter()
        features[call] = featurizer.features(pixels)
        spent["read"] += read - start
        spent["decode"] += decoded - read
        spent["inference"] += time.perf_counter() - decoded
    ended = time.time()
    write(paths, features, output)
    return {"began": began, "ended": ended, "written": time.time(), **spent}


def write(paths: list[str], features: object, output: Path) -> None:
    """Writes Parquet as the pipeline does: zstd, no dictionary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"path": paths, "features": pa.array(list(features), pa.list_(pa.float32()))})  # type: ignore[call-overload]
    pq.write_table(table, output, compression="zstd", use_dictionary=False)


def run_share(rank: int, paths: list[str], output: str, encoders: str, ready: Barrier, results: object) -> None:
    """The body of one process."""
    results.put(featurize_share(paths, Path(output) / f"part-{rank}.parquet", encoders, ready))  # type: ignore[attr-defined]


def main(images_folder: str, output: str, cores: str, encoders: str) -> None:
    """Runs all processes and prints the result."""
    clock = Clock()
    n = int(cores)
    Path(output, "features").mkdir(parents=True)
    paths = list_images(images_folder)
    clock.lap("list")
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(n), context.SimpleQueue()
    workers = [
        context.Process(target=run_share, args=(i, paths[i::n], f"{output}/features", encoders, ready, results))
        for i in range(n)
    ]
    for worker in workers:
        worker.start()
    done = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    clock.lap("all_processes")
    began = min(each["began"] for each in done)
    loop = max(each["ended"] for each in done) - began
    loop_and_write = max(each["written"] for each in done) - began
    spent = {name: round(sum(each[name] for each in done), 3) for name in ("read", "decode", "inference")}
    report(
        featurization_s=round(loop_and_write, 3),
        stages={**clock.stages, "loop": round(loop, 3), "loop_and_write": round(loop_and_write, 3)},
        workers=spent,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
