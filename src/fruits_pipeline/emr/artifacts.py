"""The local files that a cluster needs, and where they go in the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import list_files

FOLDER = "artifacts"
RAW = "01_raw"
ENCODERS = "06_models/encoders"
PACKAGE_CURE = "make package writes them; start the command in the project's folder."


@dataclass(frozen=True)
class Item:
    """One file on its way into the bucket.

    Attributes:
        path: Here.
        key: There, with the prefix.
        size: Bytes.
    """

    path: Path
    key: str
    size: int


@dataclass(frozen=True)
class Artifacts:
    """What was found; optional ones are None when they are not there.

    Attributes:
        bootstrap: Script that makes the environment on each node.
        requirements: Pinned packages.
        wheel: The packaged project.
        conf: Its configuration.
        entry: What spark-submit starts.
        primary_requirements: Packages of the primary node.
        project: Archive of conf and notebooks.
        wheelhouse: Wheels for clusters without internet.
        encoders: Exported encoders with their cards.
    """

    bootstrap: Path
    requirements: Path
    wheel: Path
    conf: Path
    entry: Path
    primary_requirements: Path | None
    project: Path | None
    wheelhouse: tuple[Path, ...]
    encoders: tuple[Path, ...]

    @property
    def of_nodes(self) -> tuple[Path, ...]:
        """What nodes are made from, once, when they start."""
        return self.bootstrap, self.requirements, self.wheel

    def items(self, settings: EmrSettings) -> list[Item]:
        """All of them with their keys in the bucket."""
        single = (self.bootstrap, self.requirements, self.wheel, self.conf, self.entry)
        optional = (path for path in (self.primary_requirements, self.project) if path is not None)
        folders = ((FOLDER, (*single, *optional)), (f"{FOLDER}/wheelhouse", self.wheelhouse), (ENCODERS, self.encoders))
        return [
            Item(path, settings.key(folder, path.name), path.stat().st_size)
            for folder, paths in folders
            for path in paths
        ]


def find_artifacts(settings: EmrSettings, project: Path) -> Artifacts:
    """Finds what the settings name.

    Args:
        settings: Names and patterns, relative to the project.
        project: Its folder.

    Returns:
        The files.

    Raises:
        InputError: If a required one is missing, naming all that are.
    """
    names = settings.artifacts
    required = {name: getattr(names, name) for name in ("bootstrap", "requirements", "wheel", "conf", "entry")}
    found = {name: newest(project, pattern) for name, pattern in required.items()}
    missing = [f"{required[name]} ({name})" for name, path in found.items() if path is None]
    if missing:
        raise InputError(f"What a cluster needs is not there: {', '.join(missing)}. {PACKAGE_CURE}")
    return Artifacts(
        **{name: path for name, path in found.items() if path is not None},
        primary_requirements=newest(project, names.primary_requirements),
        project=newest(project, names.project),
        wheelhouse=_files_of(project / names.wheelhouse),
        encoders=_whole_encoders(project / names.encoders),
    )


def newest(project: Path, pattern: str) -> Path | None:
    """The newest file that matches; None if none does."""
    matches = [path for path in project.glob(pattern) if path.is_file()]
    return max(matches, key=lambda path: path.stat().st_mtime, default=None)


def _files_of(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith(".")))


def _whole_encoders(folder: Path) -> tuple[Path, ...]:
    """Payloads before cards: an encoder with a card is whole, in the bucket too. `current.json` is a run's own."""
    files = [path for path in _files_of(folder) if path.suffix in (".json", ".onnx", ".safetensors")]
    return tuple(
        sorted((path for path in files if path.name != "current.json"), key=lambda path: path.suffix == ".json")
    )


def image_items(folder: Path, settings: EmrSettings) -> Iterator[Item]:
    """All files below a folder but the hidden ones, with their keys below `01_raw`.

    Args:
        folder: Of the images; the folders in it are the labels.
        settings: For the prefix.

    Yields:
        One item a file.

    Raises:
        InputError: If the folder is not there.
    """
    if not folder.is_dir():
        raise InputError(f"The images folder {folder} does not exist. Give the folder that holds one folder per label.")
    root = folder.resolve()
    for page in list_files(str(root)):
        for file in page:
            if not file.hidden:
                path = Path(file.path.removeprefix("file:"))
                yield Item(path, settings.key(RAW, path.relative_to(root).as_posix()), file.length)
