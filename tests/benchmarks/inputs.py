"""What the contenders work on: N photographs, rendered or real, and N rows of features as a run stores them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RENDERED = "rendered"
SEED = 20260101
RUN_ID = "2026-01-01T00.00.00.000Z"
FINGERPRINT = "0123456789abcdef"
ROWS_PER_FILE = 1000
N_CAUSES = 24


def make_images(source: str, n: int, scratch: Path) -> Path:
    """N photographs in `<label>/<name>.jpg`, made once and kept.

    Args:
        source: `rendered`, or a folder with real photographs, which are copied, under new names where N needs more of
            them than there are.
        n: How many.
        scratch: Where they are kept between invocations.

    Returns:
        Their folder. All files have just been read, so that no contender pays for a cold disk.
    """
    name = RENDERED if source == RENDERED else Path(source).resolve().name.replace(",", "_")
    folder = scratch / "images" / f"{name}-{n}"
    if not (folder.parent / f"{folder.name}.done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _render(folder, n) if source == RENDERED else _copy(Path(source), folder, n)
        (folder.parent / f"{folder.name}.done").touch()
    found = sum(1 for path in folder.rglob("*.jpg") if path.read_bytes())
    if found != n:
        raise SystemExit(f"{folder} holds {found} photographs, not {n}. Remove it and its .done file, and try again.")
    return folder


def _render(folder: Path, n: int) -> None:
    command = [sys.executable, "-m", "fruits_pipeline.rendering", str(folder), "--images", str(n), "--seed", str(SEED)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _copy(source: Path, folder: Path, n: int) -> None:
    photographs = sorted(source.rglob("*.jpg"))
    if not photographs:
        raise SystemExit(f"--images-folder {source}: there is no .jpg file in it.")
    share = max(1.0, len(photographs) / n)  # of too many photographs, some of each label
    for i in range(n):
        turn, rank = divmod(i, len(photographs))
        photograph = photographs[int(rank * share)]
        target = folder / photograph.parent.name / f"{photograph.stem}{f'_copy{turn}' if turn else ''}.jpg"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(photograph, target)


def make_stored_features(n: int, scratch: Path) -> Path:
    """An output folder with N features and their account, as if `kedro run` had made them; made once and kept.

    Args:
        n: Rows.
        scratch: Where they are kept between invocations.

    Returns:
        The output folder: `04_feature` with one committed batch of `featurized_images`, `image_status`, and the counts.
    """
    output = scratch / f"stored-features-{n}"
    done = scratch / f"stored-features-{n}.done"
    if not done.exists():
        shutil.rmtree(output, ignore_errors=True)
        batch, status = stored_batch(output), output / "04_feature" / "image_status" / f"run={RUN_ID}"
        for rank, features in enumerate(synthetic_features(n)):
            _write("featurized_images", batch / f"part-{rank:05d}.parquet", rank, features)
            _write("image_status", status / f"part-{rank:05d}.parquet", rank, features)
        for folder in (batch, status):
            (folder / "_SUCCESS").touch()
        done.touch()
    counts = {"listed": n, "with_features": n, "encoder": FINGERPRINT, "digest": f"of {n} rows"}
    (output / "04_feature" / "image_counts.json").write_text(json.dumps(counts))
    return output


def stored_batch(output: Path) -> Path:
    """The batch that `make_stored_features` writes."""
    return output / "04_feature" / "featurized_images" / f"batch={RUN_ID}"


def synthetic_features(n: int, seed: int = SEED) -> Iterator[np.ndarray]:
    """Features like those of MobileNetV2: few causes, a little noise, cut at 0 and 6, many zeros.

    Args:
        n: Rows in all.
        seed: Of all chance.

    Yields:
        (at most 1000, 1280) float32 in 0 … 6. About 140 components hold 95 % of their
        variance, so that the notebook, which looks at 160, finds as many as we do.
    """
    rng = np.random.default_rng(seed)
    causes = (
        rng.normal(size=(N_CAUSES, 1280)).astype(np.float32) * np.geomspace(1, 0.2, N_CAUSES, dtype=np.float32)[:, None]
    )
    causes /= np.linalg.norm(causes, axis=0)
    level = rng.normal(0.3, 0.5, 1280).astype(np.float32)
    for start in range(0, n, ROWS_PER_FILE):
        rows = min(ROWS_PER_FILE, n - start)
        signal = rng.standard_normal((rows, N_CAUSES), np.float32) @ causes + level
        yield np.clip(signal + 0.05 * rng.standard_normal((rows, 1280), np.float32), 0, 6)


def _write(table: str, path: Path, rank: int, features: np.ndarray) -> None:
    """Writes one file of a table in the project's own columns."""
    from fruits_pipeline.schemas import arrow_schema

    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(features)
    ids = [f"{rank * ROWS_PER_FILE + i:07d}" for i in range(n)]
    known = {
        "path": [f"file:/benchmark/label {int(i) % 10}/{i}.jpg" for i in ids],
        "label": [f"label {int(i) % 10}" for i in ids],
        "length": [5000] * n,
        "modification_time": [datetime(2026, 1, 1, tzinfo=UTC)] * n,
        "sha256": ["0" * 64] * n,
        "width": [100] * n,
        "height": [100] * n,
        "mode": ["RGB"] * n,
        "judged_by": ["nobody"] * n,
        "features": list(features),
        "status": ["featurised"] * n,
        "encoder": [FINGERPRINT] * n,
        "run_id": [RUN_ID] * n,
    }
    arrays = {column.name: pa.array(known.get(column.name, [None] * n), column.type) for column in arrow_schema(table)}
    pq.write_table(pa.table(arrays), path, compression="zstd", use_dictionary=[c for c in arrays if c != "features"])
