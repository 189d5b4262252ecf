"""`kedro run --env=cloud` against a real S3 server: the same results as on the local disk, and clear words otherwise.

Spark runs in local mode here; everything else is what a cluster does: roots from FRUITS_BUCKET, keys from the
environment, tables through S3A, images through obstore.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from .cluster import download, upload
from .s3_proxy import Fault, Request
from .s3a import S3AError, write_spark_conf

pytestmark = pytest.mark.slow

NAMES = [
    "Apple Red 1/a blank.jpg",
    "Apple Red 1/100%.JPG",
    "Apple Red 1/a%20b.jpg",
    "Pêche jaune/e\u0301 à ü 果物.jpg",
    "Pêche jaune/a#b?c=d&e.jpg",
    "Pêche jaune/broken.jpg",
    "Poire d'été [x]/{b,c}*.jpg",
    "Poire d'été [x]/a+b:c;d@e!.jpg",
    "_Kiwi 🥝/~$HOME.jpg",
    "_Kiwi 🥝/_under.jpg",
    "_Kiwi 🥝/.hidden.jpg",
    "deep/er/Banana/1.jpg",
]
"""Of images; a bucket and a disk hold the same."""


@pytest.fixture(scope="module")
def images(sample_run, tmp_path_factory) -> Path:
    """Some 30 pictures of the sample, a dozen of them under odd names, two of them broken."""
    root = tmp_path_factory.mktemp("cloud") / "images"
    good = sorted(sample_run.images.glob("*/1*_100.jpg"))
    names = [*NAMES, *(f"{path.parent.name}/{path.name}" for path in good[len(NAMES) : 30])]
    for name, source in zip(names, good, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / name)
    (root / "Pêche jaune" / "broken.jpg").write_bytes(b"no picture")
    (root / "Pêche jaune" / "empty.jpg").touch()
    return root


@pytest.fixture
def cloud(kedro, s3_server, proxy, bucket, tmp_path) -> Callable:
    """`kedro run --env=cloud` as on a machine whose role is `identity`."""
    try:
        spark_conf = write_spark_conf(tmp_path / "spark", proxy.endpoint, spark__master="local[2]")
    except S3AError as error:
        pytest.skip(f"no S3A: {error}")

    def run(*arguments: str, identity: str = "admin", **changes: str):
        environment = {
            **s3_server.environment(identity, proxy.endpoint),
            "SPARK_CONF_DIR": str(spark_conf),
            "FRUITS_BUCKET": bucket,
            "FRUITS_PREFIX": tmp_path.name,
        }
        return kedro("run", "--env=cloud", *arguments, **{**environment, **changes})

    return run


def table(folder: Path, root: str) -> pd.DataFrame:
    """Rows by the path below the images' root."""
    rows = pq.read_table(folder).to_pandas()
    assert rows["path"].str.startswith(root).all()
    return rows.set_index(rows["path"].str.removeprefix(root)).sort_index()


def weather(request: Request, seen: dict[str, int]) -> Fault:
    """Every object's first GET meets a fault, a different one for each third of them."""
    if not request.is_read:
        return Fault()
    nth = seen[request.key] = seen.get(request.key, 0) + 1
    faults = (Fault(status=503, code="SlowDown"), Fault(drop_after=100), Fault(delay=0.2))
    return faults[len(seen) % 3] if nth == 1 else Fault()


def test_the_cloud_computes_what_the_laptop_computes(
    images, sample_run, kedro, cloud, s3_server, proxy, bucket, tmp_path
):
    """… even while S3 is busy, drops connections and is slow."""
    output, prefix = tmp_path / "output", tmp_path.name
    shutil.copytree(sample_run.output / "06_models" / "encoders", output / "06_models" / "encoders")
    upload(s3_server, bucket, prefix, output)
    upload(s3_server, bucket, f"{prefix}/01_raw", images)
    done = kedro("run", f"--params=images={images},output={output},featurization.max_quarantined=0.5")
    assert done.returncode == 0, done.stderr

    seen: dict[str, int] = {}
    proxy.fault = lambda request: weather(request, seen)
    done = cloud("--params=featurization.max_quarantined=0.5")
    assert done.returncode == 0, done.stderr
    assert len([key for key in seen if key.endswith((".jpg", ".JPG"))]) == 30

    result = download(s3_server, bucket, prefix, tmp_path / "result")
    features = Path("04_feature") / "featurized_images"
    here = table(output / features, f"file:{images}/")
    there = table(result / features, f"s3://{bucket}/{prefix}/01_raw/")
    assert len(here) == 30
    for column in ("label", "length", "sha256", "width", "height", "mode", "reason", "detail", "encoder"):
        pd.testing.assert_series_equal(there[column], here[column])
    good = here.index[here["reason"].isna()]
    assert sorted(here["reason"].dropna()) == ["empty", "not_an_image"]
    np.testing.assert_allclose(np.stack(there.loc[good, "features"]), np.stack(here.loc[good, "features"]), atol=1e-5)

    reduced = Path("05_model_input") / "reduced_features"
    here, there = table(output / reduced, f"file:{images}/"), table(result / reduced, f"s3://{bucket}/{prefix}/01_raw/")
    assert list(there.index) == list(here.index) == list(good)
    np.testing.assert_allclose(np.stack(there["pca_features"]), np.stack(here["pca_features"]), atol=1e-4)
    models = [load_file(root / "06_models" / "pca.safetensors") for root in (output, result)]
    assert models[0]["components"].shape == models[1]["components"].shape
    reports = [json.loads((root / "08_reporting" / "run_report.json").read_text()) for root in (output, result)]
    counts = [{**report["counts"], "digest": None} for report in reports]  # of the paths, which differ
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("identity", "changes", "words"),
    [
        ("admin", {"FRUITS_BUCKET": ""}, ["FRUITS_BUCKET"]),
        ("admin", {"FRUITS_BUCKET": "no-such-bucket"}, ["There is no bucket no-such-bucket", "FRUITS_BUCKET"]),
        ("admin", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ["SignatureDoesNotMatch", "aws sso login"]),
        ("stranger", {}, ["AccessDenied", "s3:ListBucket on arn:aws:s3:::"]),
        ("reader", {}, ["AccessDenied", "s3:PutObject"]),
    ],
)
def test_one_clear_message(cloud, images, s3_server, bucket, tmp_path, identity, changes, words):
    s3_server.fill(bucket, {f"{tmp_path.name}/01_raw/Kiwi/1.jpg": b"1"})
    done = cloud(identity=identity, **changes)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\nError: ") == 1
    error = done.stderr[done.stderr.index("Error: ") :]
    assert len(error.splitlines()) <= 2, error
    assert [word for word in words if word not in error] == []


def test_data_stay_in_the_european_union(cloud, proxy, s3_server, bucket, tmp_path):
    s3_server.fill(bucket, {f"{tmp_path.name}/01_raw/Kiwi/1.jpg": b"1"})
    proxy.fault = lambda request: Fault(headers={"x-amz-bucket-region": "us-east-1"})
    done = cloud()
    assert done.returncode == 1, done.stderr
    error = done.stderr[done.stderr.index("Error: ") :]
    assert f"The bucket {bucket} lies in us-east-1, outside the European Union" in error
    assert len(error.splitlines()) <= 2, error
    assert [request for request in proxy.requests if request.method != "HEAD"] == []  # nothing was read or written
