"""From an exception, wherever it came from, to what a person needs to know. Unknown ones keep their traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError

from fruits_pipeline.errors import FruitsError

TRACEBACK_HINT = "(For the whole traceback, set FRUITS_TRACEBACK=1.)"

_KNOWN_TO_SPARK = (
    (
        r"No space left on device",
        "The disk is full. Free some space, or name another output with --params=output=DIR, and run the same command "
        "again: finished batches are kept.",
    ),
    (
        r"PATH_NOT_FOUND\S* Path does not exist: (?P<what>\S+)",
        "{what} does not exist. Run the pipelines that write it first (kedro run), or name other folders with "
        "--params=images=DIR,output=DIR.",
    ),
    (
        r"USER_RAISED_EXCEPTION\S* (?P<what>table [^\n]+)",
        "A contract is broken: {what}. Nothing of this table was committed.",
    ),
    (r"OutOfMemoryError|Cannot allocate memory", "Spark ran out of memory: raise spark.driver.memory in conf/base/spark.yml."),
    (r"Permission denied|AccessDenied", "A folder may not be read or written: check its permissions."),
)


class Interrupted(Exception):
    """The run was stopped from outside."""


def explain(error: BaseException) -> str | None:
    """Says in one message what failed and what mends it.

    Args:
        error: Whatever a run raised.

    Returns:
        The message; None for errors nobody has foreseen, whose traceback is worth more than any message.
    """
    chain = list(_chain(error))
    if any(isinstance(link, KeyboardInterrupt) for link in chain):
        return "Interrupted. Finished batches are kept; run the same command again to continue."
    for link in chain:
        if isinstance(link, FruitsError):
            return str(link)
        if isinstance(link, ParameterValidationError):
            return _parameters(str(link))
    return _from_spark(chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _parameters(message: str) -> str:
    """Pydantic's words without its links."""
    lines = [line for line in message.splitlines() if "errors.pydantic.dev" not in line]
    return "\n".join(lines) + "\nSee conf/base/parameters_<pipeline>.yml for all parameters and their meaning."


def _from_spark(chain: list[BaseException]) -> str | None:
    text = "\n".join(str(link) for link in chain)
    for pattern, message in _KNOWN_TO_SPARK:
        match = re.search(pattern, text)
        if match:
            return f"{message.format(**match.groupdict())} {TRACEBACK_HINT}"
    if any(isinstance(link, DatasetError) for link in chain) and len(chain) == 1:
        return str(chain[0])
    return None
