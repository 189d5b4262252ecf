"""How many float32 operations the cores can do: `sgemm.py CORES`.

One single-threaded process per core multiplies 2048 x 2048 matrices, all at the same time. MobileNetV2 (alpha 1.0,
224) takes 0.6 GFLOP per image (300 million multiply-adds: Sandler et al., "MobileNetV2", 2018, table 4), so GFLOP/s
divided by 0.6 is a number of images per second that no float32 network of this kind can pass.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier

from common import Clock, report

EDGE = 2048
SECONDS = 4.0
GFLOP_PER_IMAGE = 0.6


def multiply(ready: Barrier, results: object) -> None:
    """Multiplies for `SECONDS`, and hands over GFLOP/s."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    import numpy as np

    a = np.random.default_rng(0).random((EDGE, EDGE), np.float32)
    b, product = a.T.copy(), np.empty_like(a)
    np.matmul(a, b, out=product)
    ready.wait()
    start, rounds = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        np.matmul(a, b, out=product)
        rounds += 1
    results.put(2 * EDGE**3 * rounds / (time.perf_counter() - start) / 1e9)  # type: ignore[attr-defined]


def main(cores: str) -> None:
    """Runs all processes and prints the sum."""
    clock = Clock()
    n = int(cores)
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(n), context.SimpleQueue()
    workers = [context.Process(target=multiply, args=(ready, results)) for _ in range(n)]
    for worker in workers:
        worker.start()
    gflops = sum(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    clock.lap("all")
    limit = round(gflops / GFLOP_PER_IMAGE, 1)
    report(gflops=round(gflops, 1), limit_images_per_s=limit, stages=clock.stages)


if __name__ == "__main__":
    main(*sys.argv[1:])
