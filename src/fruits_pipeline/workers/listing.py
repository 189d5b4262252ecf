"""The listing of a folder: all files as rows of `raw_images`, the images among them as rows of `image_index`.

And their labels. All of it goes page by page, from one reader; a run's own process does it while Java comes up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from fruits_pipeline.listing import list_files
from fruits_pipeline.schemas import arrow_schema
from fruits_pipeline.workers.clock import StageClock, Sum
from fruits_pipeline.workers.contracts import RowFunction

_SCHEME: Final = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:/*")


@dataclass(frozen=True)
class ListFolder:
    """One input row, as many output rows as there are files.

    Attributes:
        root: The folder, as `fruits_pipeline.listing.list_files` takes it.
        sums: Where the seconds of the stage `listing` go.
    """

    root: str
    sums: Mapping[str, Sum] = field(default_factory=dict)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Lists the folder, one page after another."""
        schema = arrow_schema("raw_images")
        clock = StageClock(self.sums)
        for _ in batches:
            for page in clock.each("listing", list_files(self.root)):
                columns = [pa.array([getattr(file, part.name) for file in page], part.type) for part in schema]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        clock.hand_over()


@dataclass(frozen=True)
class SelectImages:
    """A listing without the files that are no images to this pipeline, which are counted.

    Attributes:
        files: Makes rows of `raw_images`.
        extensions: What images' names end in, in lower case and without the dot.
        ignored: Number of the other files, by `kind_of`.
    """

    files: RowFunction
    extensions: tuple[str, ...]
    ignored: Counter[str]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turns batches of `raw_images` into batches of `image_index`."""
        ignored: Counter[str] = Counter()
        for files in self.files(batches):
            names = zip(files["path"].to_pylist(), files["hidden"].to_pylist(), strict=True)
            kinds = [kind_of(path, hidden, self.extensions) for path, hidden in names]
            ignored.update(kind for kind in kinds if kind is not None)
            images = files.filter(pa.array([kind is None for kind in kinds], pa.bool_()))
            yield images.select(arrow_schema("image_index").names)
        self.ignored.clear()  # of an attempt that failed
        self.ignored.update(ignored)


def kind_of(path: str, hidden: bool, extensions: tuple[str, ...]) -> str | None:
    """What to call a file that is no image: its extension in lower case (`""` for none), or `hidden`; None for images.

    Example:
        >>> kind_of("file:/a/b.JPG", False, ("jpg",)), kind_of("file:/a/b.tar.GZ", False, ("jpg",))
        (None, 'gz')
    """
    if hidden:
        return "hidden"
    name = path.rpartition("/")[2].lower()
    is_image = name.endswith(tuple(f".{extension}" for extension in extensions))
    return None if is_image else name.rpartition(".")[2] if "." in name else ""


@dataclass(frozen=True)
class LabelImages:
    """The images of an index with the names of their folders.

    Attributes:
        images: Makes rows of `image_index`.
        folder_level: Which of the folders above the file names the fruit.
    """

    images: RowFunction
    folder_level: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turns batches of `image_index` into batches of `labeled_images`."""
        for images in self.images(batches):
            labels = [label_of(path, self.folder_level) for path in images["path"].to_pylist()]
            columns = [*images.columns, pa.array(labels, pa.string())]
            yield pa.RecordBatch.from_arrays(columns, names=[*images.schema.names, "label"])


def label_of(path: str, folder_level: int = 1) -> str | None:
    """Name of the folder (or bucket) `folder_level` levels above the file; None if the path is not that deep.

    Example:
        >>> label_of("file:/a/b/c.jpg"), label_of("s3://bucket/c.jpg", 2)
        ('b', None)
    """
    parts = _SCHEME.sub("", path).split("/")
    return parts[-1 - folder_level] if folder_level < len(parts) else None
