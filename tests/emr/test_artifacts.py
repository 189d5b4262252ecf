"""Which files go where."""

import os
from pathlib import Path

import pytest

from fruits_pipeline.emr.artifacts import find_artifacts, image_items
from fruits_pipeline.errors import InputError


def test_all_files_have_their_places(settings, project):
    items = {item.key: item.size for item in find_artifacts(settings, project).items(settings)}
    assert items == {
        "fruits/artifacts/bootstrap-emr.sh": 10,
        "fruits/artifacts/requirements-emr.txt": 9,
        "fruits/artifacts/fruits_pipeline-0.1.0-py3-none-any.whl": 5,
        "fruits/artifacts/conf-fruits_pipeline.tar.gz": 4,
        "fruits/artifacts/submit.py": 8,
        "fruits/06_models/encoders/abc.onnx": 4,
        "fruits/06_models/encoders/abc.json": 2,
    }


def test_payloads_go_before_their_cards(settings, project):
    """A run that looks while they go up must not find a card without a network."""
    names = [path.name for path in find_artifacts(settings, project).encoders]
    assert names == ["abc.onnx", "abc.json"]


def test_optional_files_go_too_when_they_are_there(settings, project):
    (project / "dist" / "wheelhouse").mkdir()
    (project / "dist" / "wheelhouse" / "numpy-2.whl").write_text("n")
    (project / "dist" / "project.tar.gz").write_text("p")
    (project / "bootstrap" / "requirements-emr-primary.txt").write_text("q")
    keys = [item.key for item in find_artifacts(settings, project).items(settings)]
    assert "fruits/artifacts/wheelhouse/numpy-2.whl" in keys
    assert "fruits/artifacts/project.tar.gz" in keys
    assert "fruits/artifacts/requirements-emr-primary.txt" in keys


def test_of_several_wheels_the_newest_counts(settings, project):
    old, new = (project / "dist" / f"fruits_pipeline-{v}-py3-none-any.whl" for v in ("0.1.0", "0.0.9"))
    new.write_text("newer, though its number is smaller")
    os.utime(old, (1, 1))
    assert find_artifacts(settings, project).wheel == new


def test_all_that_is_missing_is_named_at_once(settings, project):
    for name in ("dist/conf-fruits_pipeline.tar.gz", "bootstrap/submit.py"):
        (project / name).unlink()
    with pytest.raises(InputError, match=r"conf-fruits_pipeline\.tar\.gz.*submit\.py.*make package"):
        find_artifacts(settings, project)


def test_images_keep_their_folders_and_names(settings, tmp_path):
    names = ["Poire d'été/1 2.jpg", "Apple/a#b%20.png", "Apple/deep/er/x.jpg"]
    for name in [*names, "Apple/.hidden.jpg", ".cache/y.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    items = list(image_items(tmp_path, settings))
    assert sorted(item.key for item in items) == sorted(f"fruits/01_raw/{name}" for name in names)
    assert all(item.path.read_text() == item.key.removeprefix("fruits/01_raw/") for item in items)
    assert all(item.size == item.path.stat().st_size for item in items)


def test_a_relative_folder_and_a_link_to_it_are_the_same(settings, tmp_path, monkeypatch):
    (tmp_path / "real" / "A").mkdir(parents=True)
    (tmp_path / "real" / "A" / "x.jpg").write_text("x")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert [[item.key for item in image_items(Path(name), settings)] for name in ("real", "link")] == [
        ["fruits/01_raw/A/x.jpg"]
    ] * 2


def test_no_folder_no_images(settings, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list(image_items(tmp_path / "none", settings))
