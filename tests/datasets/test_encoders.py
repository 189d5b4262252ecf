"""Encoders are kept under their fingerprints, whole or not at all."""

import contextlib
import dataclasses
import json
import os
import shutil

import fsspec
import pytest
from kedro.io import DatasetError

from fruits_pipeline.datasets import EncoderDataset, EncoderWeightsDataset, ExportedEncodersDataset
from fruits_pipeline.encoders.card import Encoder, EncoderCard
from fruits_pipeline.errors import EncoderError


def encoder(weights: str = "random:1", engine: str = "onnx", payload: bytes = b"network") -> Encoder:
    sha256 = weights.encode().hex().ljust(64, "0")
    return Encoder(
        EncoderCard("MobileNetV2", 0.35, engine, weights, sha256, exported_with={"tensorflow": "2"}), payload
    )


@pytest.fixture(params=["local", "odd names", "memory"])
def folder(request, tmp_path):
    if request.param == "memory":
        yield "memory:///bucket/06_models/encoders"  # Kedro drops the host of memory://host/path
        fsspec.filesystem("memory").store.clear()
    else:
        yield str(tmp_path / ("encoders" if request.param == "local" else "a [b] é #1%20/encoders"))


def names(folder: str) -> set[str]:
    filesystem, path = fsspec.core.url_to_fs(folder) if "://" in folder else (fsspec.filesystem("file"), folder)
    return {name.rsplit("/", 1)[-1] for name in filesystem.ls(path, detail=False)}


def test_what_is_saved_is_loaded(folder):
    dataset = EncoderDataset(filepath=folder)
    assert not dataset.exists()
    dataset.save(encoder())
    assert dataset.exists()
    assert dataset.load() == encoder()
    fingerprint = encoder().card.fingerprint
    assert names(folder) == {f"{fingerprint}.json", f"{fingerprint}.onnx", "current.json"}


def test_the_current_encoder_is_the_last_and_all_are_kept(folder):
    dataset = EncoderDataset(filepath=folder)
    first, second = encoder("random:1"), encoder("random:2", "tensorflow", b"arrays")
    for saved in (first, second):
        dataset.save(saved)
        assert dataset.load() == saved
    dataset.save(first)
    assert dataset.load() == first
    exported = ExportedEncodersDataset(filepath=folder).load()
    assert {candidate.card.fingerprint for candidate in exported} == {first.card.fingerprint, second.card.fingerprint}
    assert {candidate.card.weights: candidate.load() for candidate in exported} == {
        "random:1": first,
        "random:2": second,
    }


def test_what_was_computed_in_another_way_is_still_there(folder):
    """Under a fingerprint of its own: the features that it made name it."""
    dataset, new = EncoderDataset(filepath=folder), encoder("random:1")
    old = dataclasses.replace(new, card=dataclasses.replace(new.card, precision="bfloat16", arithmetic="of old"))
    dataset.save(new)
    dataset.save(old)
    assert dataset.load() == old
    assert {known.card.arithmetic: known.load() for known in ExportedEncodersDataset(filepath=folder).load()} == {
        "": new,
        "of old": old,
    }


def test_no_folder_no_encoders(folder):
    assert ExportedEncodersDataset(filepath=folder).load() == []


def test_payloads_are_read_only_when_asked_for(folder):
    EncoderDataset(filepath=folder).save(encoder())
    filesystem, path = fsspec.core.url_to_fs(folder) if "://" in folder else (fsspec.filesystem("file"), folder)
    filesystem.rm_file(f"{path}/{encoder().card.fingerprint}.onnx")
    (candidate,) = ExportedEncodersDataset(filepath=folder).load()
    assert candidate.card == encoder().card
    with pytest.raises(FileNotFoundError):
        candidate.load()


def test_an_encoder_is_written_once(tmp_path):
    dataset = EncoderDataset(filepath=str(tmp_path))
    dataset.save(encoder())
    before = {file.name: file.stat().st_ino for file in tmp_path.glob(f"{encoder().card.fingerprint}*")}
    dataset.save(encoder())
    assert {file.name: file.stat().st_ino for file in tmp_path.glob(f"{encoder().card.fingerprint}*")} == before
    assert len(before) == 2


def test_a_payload_without_card_is_no_encoder_and_is_written_again(tmp_path):
    """A run that died between the two files."""
    (tmp_path / f"{encoder().card.fingerprint}.onnx").write_bytes(b"half")
    assert ExportedEncodersDataset(filepath=str(tmp_path)).load() == []
    EncoderDataset(filepath=str(tmp_path)).save(encoder())
    assert EncoderDataset(filepath=str(tmp_path)).load() == encoder()


def test_a_failing_write_leaves_no_file(tmp_path):
    with pytest.raises(DatasetError):
        EncoderDataset(filepath=str(tmp_path)).save(Encoder(encoder().card, "text is no payload"))
    assert [file.name for file in tmp_path.iterdir() if file.suffix in (".json", ".onnx")] == []
    assert ExportedEncodersDataset(filepath=str(tmp_path)).load() == []
    EncoderDataset(filepath=str(tmp_path)).save(encoder())
    assert EncoderDataset(filepath=str(tmp_path)).load() == encoder()


def test_a_card_is_whole_though_tmp_is_another_disk(tmp_path, monkeypatch):
    """Moving a file from there is a copy, which may be interrupted."""
    rename, copy = os.rename, shutil.copyfile

    def across_disks(source, target, **options):
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(18, "Invalid cross-device link")
        rename(source, target, **options)

    def interrupted(source, target, **options):
        copy(source, target, **options)
        os.truncate(target, os.path.getsize(target) // 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", across_disks)
    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        EncoderDataset(filepath=str(tmp_path)).save(encoder())
    for file in tmp_path.glob("*.onnx"):
        assert file.read_bytes() == encoder().payload
    for file in tmp_path.glob("*.json"):
        assert EncoderCard.from_dict(json.loads(file.read_bytes())) == encoder().card


def test_encoders_may_be_read_by_others(tmp_path):
    """A temporary file may be read by its owner only; a renamed one must not stay so."""
    mask = os.umask(0o022)
    try:
        EncoderDataset(filepath=str(tmp_path)).save(encoder())
    finally:
        os.umask(mask)
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o644"}


def test_exported_encoders_and_weights_are_read_only(tmp_path):
    with pytest.raises(DatasetError, match="read-only"):
        ExportedEncodersDataset(filepath=str(tmp_path)).save([])
    with pytest.raises(DatasetError, match="read-only"):
        EncoderWeightsDataset(weights="bundled", alpha=0.35).save("weights")


def test_weights_are_found_by_name_and_width():
    weights = EncoderWeightsDataset(weights="random:7", alpha=0.35).load()
    assert (weights.spec, weights.content, weights.seed) == ("random:7", None, 7)
    with pytest.raises(DatasetError) as caught:
        EncoderWeightsDataset(weights="no/such/file.h5", alpha=0.35).load()
    assert isinstance(caught.value.__cause__, EncoderError)
