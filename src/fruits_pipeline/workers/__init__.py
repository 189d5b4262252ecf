"""What runs inside Spark's Python workers: functions from Arrow batches to Arrow batches.

Every worker process imports the room of the function it is sent, so these rooms import neither Kedro nor Pydantic nor
TensorFlow: half a second and 60 MB of each process (tested, and a rule of import-linter).
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def prepare(batches: Iterable[T]) -> Iterator[T]:
    """Imports what the first real task would have to import: in the process that forks the workers, or in a worker."""
    from fruits_pipeline.workers import features, featurization, listing, moments, projection, writing  # noqa: F401

    yield from batches
