"""Which weights are asked for; what is not there is said plainly, before TensorFlow is needed."""

import hashlib
import subprocess
import sys

import botocore.exceptions
import fsspec
import pytest

from fruits_pipeline.encoders import weights
from fruits_pipeline.encoders.weights import find_weights, imagenet_file_name, imagenet_weights
from fruits_pipeline.errors import EncoderError


@pytest.mark.parametrize("seed", ["0", "42", "999999999"])
def test_random_weights_need_no_file(seed):
    found = find_weights(f"random:{seed}", 0.35)
    assert (found.spec, found.content, found.seed) == (f"random:{seed}", None, int(seed))


@pytest.mark.parametrize("spec", ["random:", "random:-1", "random:1.5", "random:one", "random: 1", "random:1234567890"])
def test_a_seed_is_a_whole_number(spec):
    with pytest.raises(EncoderError, match=f"encoder.weights={spec}: the seed must be a whole number, as in random:42"):
        find_weights(spec, 0.35)


def test_bundled_weights_come_with_the_package():
    found = find_weights("bundled", 0.35)
    assert found.spec == "bundled"
    assert found.content.startswith(b"\x89HDF\r\n\x1a\n")
    assert 1_000_000 < len(found.content) < 10_000_000


@pytest.mark.parametrize("name", ["weights.h5", "a b é #1%20 [x].weights.h5", "a::b.h5"])
def test_a_path_names_a_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    found = find_weights(str(tmp_path / name), 0.35)
    assert found.content == b"content"
    assert found.spec == str(tmp_path / name)
    assert found.sha256 == hashlib.sha256(b"content").hexdigest()


def test_a_remote_path_names_a_file():
    fsspec.filesystem("memory").pipe_file("bucket/w.h5", b"remote")
    assert find_weights("memory://bucket/w.h5", 0.35).content == b"remote"
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("spec", ["no/such/file.h5", "memory://bucket/none.h5", "Bundled", "imagenet2", "random"])
def test_what_is_not_there(spec):
    with pytest.raises(EncoderError, match=f"There is no weights file at encoder.weights={spec}") as caught:
        find_weights(spec, 0.35)
    assert "bundled, imagenet, random:<seed>, or the path" in str(caught.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(EncoderError, match=r"cannot be read: .*directory"):
        find_weights(str(tmp_path), 0.35)


def test_an_unknown_protocol(tmp_path):
    with pytest.raises(EncoderError, match="cannot be read: Protocol not known: nowhere"):
        find_weights("nowhere://bucket/w.h5", 0.35)


@pytest.mark.parametrize("error", [PermissionError("Forbidden"), ImportError("Install s3fs"), OSError("slow down")])
def test_a_store_that_refuses(monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(EncoderError, match=f"s3://b/w.h5 cannot be read: {error}"):
        find_weights("s3://b/w.h5", 0.35)


def test_a_store_without_credentials(monkeypatch):
    def refuse(*arguments, **options):
        raise botocore.exceptions.NoCredentialsError

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(EncoderError, match="Unable to locate credentials"):
        find_weights("s3://b/w.h5", 0.35)


# ---- ImageNet --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.35, 0.5, 0.75, 1.0, 1])
def test_the_name_is_that_of_keras(alpha):
    expected = {0.35: "0.35", 0.5: "0.5", 0.75: "0.75", 1.0: "1.0"}[alpha]
    assert imagenet_file_name(alpha) == f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{expected}_224_no_top.h5"


def test_imagenet_weights_are_those_that_keras_has_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert imagenet_weights(0.5).content is None
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / imagenet_file_name(0.5)).write_bytes(b"downloaded")
    assert find_weights("imagenet", 0.5).content == b"downloaded"
    assert find_weights("imagenet", 0.5).spec == "imagenet"
    assert find_weights("imagenet", 0.35).content is None


def test_the_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.keras_cache() == tmp_path / ".keras" / "models"


def test_no_tensorflow_is_needed_to_find_weights():
    code = (
        "import sys; from fruits_pipeline.encoders.weights import find_weights; find_weights('random:1', 1.0);"
        "sys.exit(bool({'tensorflow', 'keras', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
