"""Fits are kept under their fingerprints, every one that was ever made, and one of them is in use."""

import dataclasses

import fsspec
import numpy as np
import pytest
from kedro.io import DatasetError

from fruits_pipeline.datasets import FitDataset, KeptFitsDataset
from fruits_pipeline.datasets.cards import CardFolder
from fruits_pipeline.fits import ARRAYS, Fit, FitCard


def fit(name: str = "1" * 16, run_id: str = "2026-11-21T00.00.00.000Z", k: int = 3) -> Fit:
    rng = np.random.default_rng(int(name, 16) % 2**32)
    shapes = {"mean": 5, "scale": 5, "components": (k, 5), "total_variance": 1}
    arrays = {array: rng.normal(size=shapes.get(array, k)) for array in ARRAYS}
    return Fit(FitCard(name, "e" * 16, run_id, 40, k, 0.95, {"variance": 0.95}, "abc-dirty"), arrays)


def assert_same(found: Fit, expected: Fit) -> None:
    assert found.card == expected.card
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


@pytest.fixture(params=["local", "odd names", "memory"])
def folder(request, tmp_path):
    if request.param == "memory":
        yield "memory:///bucket/06_models/fits"  # Kedro drops the host of memory://host/path
        fsspec.filesystem("memory").store.clear()
    else:
        yield str(tmp_path / ("fits" if request.param == "local" else "a [b] é #1%20/fits/"))


def names(folder: str) -> set[str]:
    filesystem, path = fsspec.core.url_to_fs(folder) if "://" in folder else (fsspec.filesystem("file"), folder)
    return {name.rsplit("/", 1)[-1] for name in filesystem.ls(path, detail=False)}


def test_what_is_saved_is_loaded(folder):
    dataset = FitDataset(filepath=folder)
    assert not dataset.exists()
    dataset.save(fit())
    assert dataset.exists()
    assert_same(dataset.load(), fit())
    assert names(folder) == {f"{'1' * 16}.json", f"{'1' * 16}.safetensors", "current.json"}


def test_a_fit_without_components_is_a_fit(folder):
    FitDataset(filepath=folder).save(fit(k=0))
    assert_same(FitDataset(filepath=folder).load(), fit(k=0))


def test_all_fits_are_kept_and_the_last_is_in_use(folder):
    dataset = FitDataset(filepath=folder)
    late, early = fit("1" * 16, "2026-11-22T00.00.00.000Z"), fit("2" * 16, "2026-11-21T00.00.00.000Z", k=2)
    for saved in (late, early):
        dataset.save(saved)
        assert_same(dataset.load(), saved)
    kept = KeptFitsDataset(filepath=folder).load()
    assert [(one.card, one.is_current) for one in kept] == [(early.card, True), (late.card, False)]  # oldest run first
    for one, expected in zip(kept, (early, late), strict=True):
        assert_same(one.load(), expected)
    dataset.save(late)
    assert [one.is_current for one in KeptFitsDataset(filepath=folder).load()] == [False, True]


def test_a_fit_that_is_made_again_keeps_its_own_card(folder):
    """Only the card in use says with what it was compared this time."""
    first = fit()
    again = Fit(dataclasses.replace(first.card, run_id="2026-11-30T00.00.00.000Z", compared={"axes": [1.0]}), {})
    FitDataset(filepath=folder).save(first)
    FitDataset(filepath=folder).save(again)
    (kept,) = KeptFitsDataset(filepath=folder).load()
    assert kept.card == first.card
    assert kept.is_current
    assert FitDataset(filepath=folder).load().card == again.card
    assert_same(kept.load(), first)


def test_no_folder_no_fits(folder):
    assert KeptFitsDataset(filepath=folder).load() == []
    with pytest.raises(DatasetError):
        FitDataset(filepath=folder).load()


def test_arrays_are_read_only_when_asked_for(tmp_path):
    FitDataset(filepath=str(tmp_path)).save(fit())
    (tmp_path / f"{'1' * 16}.safetensors").unlink()
    (kept,) = KeptFitsDataset(filepath=str(tmp_path)).load()
    assert kept.card == fit().card
    with pytest.raises(FileNotFoundError):
        kept.load()


def test_arrays_without_card_are_no_fit_and_are_written_again(tmp_path):
    """A run that died between the two files."""
    (tmp_path / f"{'1' * 16}.safetensors").write_bytes(b"half")
    assert KeptFitsDataset(filepath=str(tmp_path)).load() == []
    assert not FitDataset(filepath=str(tmp_path)).exists()
    FitDataset(filepath=str(tmp_path)).save(fit())
    assert_same(FitDataset(filepath=str(tmp_path)).load(), fit())


def test_a_run_that_died_before_current_leaves_the_fit_in_use(tmp_path, monkeypatch):
    dataset = FitDataset(filepath=str(tmp_path))
    dataset.save(fit("1" * 16))

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CardFolder, "make_current", die)
        with pytest.raises(KeyboardInterrupt):
            dataset.save(fit("2" * 16))
    assert_same(dataset.load(), fit("1" * 16))
    assert [one.is_current for one in KeptFitsDataset(filepath=str(tmp_path)).load()] == [True, False]


def test_kept_fits_are_read_only(tmp_path):
    with pytest.raises(DatasetError, match="read-only; save to `fit`"):
        KeptFitsDataset(filepath=str(tmp_path)).save([])


# ---- the folder of cards ---------------------------------------------------------------------------------------------


def test_cards_come_in_the_order_of_their_keys_without_the_one_in_use(folder):
    cards = CardFolder(folder)
    assert cards.cards() == []
    assert not cards.has_current()
    for key in ("b", "a", "c"):
        cards.add(key, {"key": key, "é": 1}, ".bin", key.encode())
    cards.make_current({"key": "b"})
    assert [card["key"] for card in cards.cards()] == ["a", "b", "c"]
    assert cards.current() == {"key": "b"}
    assert cards.payload("a.bin") == b"a"
    assert names(folder) == {*(f"{key}.{end}" for key in "abc" for end in ("json", "bin")), "current.json"}


def test_nothing_that_was_added_is_written_again(tmp_path):
    cards = CardFolder(str(tmp_path))
    cards.add("a", {"n": 1}, ".bin", b"first")
    before = {file.name: file.stat().st_ino for file in tmp_path.iterdir()}
    cards.add("a", {"n": 2}, ".bin", b"second")
    assert {file.name: file.stat().st_ino for file in tmp_path.iterdir()} == before
    assert (cards.cards(), cards.payload("a.bin")) == ([{"n": 1}], b"first")


def test_the_card_is_written_after_the_payload(tmp_path):
    """A payload that cannot be written leaves no card behind."""
    with pytest.raises(TypeError):
        CardFolder(str(tmp_path)).add("a", {"n": 1}, ".bin", "text is no payload")
    assert list(tmp_path.iterdir()) == []
