"""How much of the local speed is left when each object of a bucket comes late.

`python tests/benchmarks/slow_storage.py ENCODERS IMAGES [--late 30] [--images 1000] [--repeats 3]`

ENCODERS is `06_models/encoders` of a run, IMAGES a folder of photographs. One process per core runs what a Spark
worker runs (`FeaturizeTask`, without Spark), in turn on local files and on the same files behind an HTTP server that
answers each GET so many milliseconds late. The server runs on the same cores and takes its part of them (`server CPU
s` in the last line), which a real one would not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent / "contenders"))

BUCKET = "late"
CORES = 2


def serve(folder: Path, late: float, port: Queue[int], stop: Event, spent: Queue[float]) -> None:
    """Answers GETs of the folder's files until told to stop, then says how much processor time it took."""
    import asyncio

    from aiohttp import web

    contents = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}

    async def get(request: web.Request) -> web.Response:
        await asyncio.sleep(late)
        content = contents[request.match_info["key"]]
        return web.Response(body=content, headers={"ETag": '"1"', "Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"})

    async def run() -> None:
        app = web.Application()
        app.router.add_get(f"/{BUCKET}/{{key:.+}}", get)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.put(runner.addresses[0][1])
        await asyncio.to_thread(stop.wait)
        await runner.cleanup()

    asyncio.run(run())
    spent.put(time.process_time())


def work(encoders: str, paths: list[str], ready: Barrier, seconds: Queue[tuple[float, float]]) -> None:
    """Featurises the share of one worker; puts when it began and ended."""
    import pyarrow as pa
    from common import IMAGES_PER_CALL, load_encoder

    from fruits_pipeline.schemas import arrow_schema
    from fruits_pipeline.workers.featurization import FeaturizeTask

    encoder = load_encoder(encoders)
    broadcast = SimpleNamespace(value=encoder.payload)
    task = FeaturizeTask(encoder.card, broadcast, "run", 1, IMAGES_PER_CALL, 16, 10**8)
    now = datetime.now(UTC)
    rows = [{"path": path, "length": 1, "modification_time": now, "label": "x"} for path in paths]
    batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema("labeled_images"))
    list(task([batch.slice(0, 16)]))  # the network is loaded, the connections are there
    ready.wait()
    began = time.time()
    n_good = sum(out.column("features").is_valid().to_numpy(zero_copy_only=False).sum() for out in task([batch]))
    seconds.put((began, time.time()))
    assert n_good == len(paths), f"{n_good} of {len(paths)} images"


def measure(encoders: str, paths: list[str]) -> float:
    """Images per second of one process per core."""
    context = multiprocessing.get_context("spawn")
    ready, seconds = context.Barrier(CORES), context.Queue()
    shares = [paths[core::CORES] for core in range(CORES)]
    workers = [context.Process(target=work, args=(encoders, share, ready, seconds)) for share in shares]
    for worker in workers:
        worker.start()
    spans = [seconds.get() for _ in workers]
    for worker in workers:
        worker.join()
    return len(paths) / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def main() -> None:
    """Prints a line per repetition and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--late", type=float, default=30.0, help="milliseconds")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    port, stop, spent = context.Queue(), context.Event(), context.Queue()
    server = context.Process(target=serve, args=(options.folder, options.late / 1000, port, stop, spent))
    server.start()
    os.environ.update(AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port.get()}", AWS_REGION="eu-west-1")
    os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")
    files = sorted(options.folder.rglob("*.jpg"))[: options.images]
    local = [f"file:{path}" for path in files]
    remote = [f"s3://{BUCKET}/{path.relative_to(options.folder)}" for path in files]
    rates: dict[str, list[float]] = {"local": [], "late": []}
    for _ in range(options.repeats):
        for name, paths in (("local", local), ("late", remote)):
            rates[name].append(measure(options.encoders, paths))
            print(f"{name:6} {rates[name][-1]:8.1f} images/s", flush=True)
    stop.set()
    seconds = spent.get()
    server.join()
    ratio = statistics.median(rates["late"]) / statistics.median(rates["local"])
    print(f"late / local = {ratio:.3f} ({options.late:g} ms, {len(files)} images, server CPU s {seconds:.1f})")


if __name__ == "__main__":
    main()
