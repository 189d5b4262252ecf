"""From an exception, wherever it came from, to what a person needs to know. Unknown ones keep their traceback."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError

from fruits_pipeline.errors import FruitsError, Terminated, causes_of

RUN = "Run "
"""What the note begins with that names the run in which an error arose."""

_CONTINUE = "Finished batches are kept; run the same command again to continue."

TRACEBACK_HINT = "(For the whole traceback, set FRUITS_TRACEBACK=1.)"

_KNOWN = (
    # A worker's own words; Spark wraps them in the worker's traceback.
    (r"fruits_pipeline\.errors\.\w+: (?P<what>[^\n]+)", "{what}"),
    (
        # The second are the words of Hadoop, for a disk of buffers.
        r"No space left on device|Could not find any valid local directory",
        "The disk is full. Free some space, or name another output with --params=output=DIR (on a cluster: raise "
        "volume_gb in conf/cloud/emr.yml for the next one), and run the same command again: finished batches are kept.",
    ),
    (
        r"PATH_NOT_FOUND\S* Path does not exist: (?P<what>\S+)",
        "{what} does not exist. Run the pipelines that write it first (kedro run), or name other folders with "
        "--params=images=DIR,output=DIR.",
    ),
    (
        r"OutOfMemoryError|Cannot allocate memory",
        "Spark ran out of memory: raise spark.driver.memory in conf/local/spark.yml.",
    ),
    (
        r"Answer from Java side is empty|Error while sending or receiving|Java gateway process exited",
        f"Spark's Java process has ended: somebody killed it, or the machine ran out of memory. {_CONTINUE}",
    ),
    (
        r"Failed to find the pipeline named '(?P<what>[^']*)'",
        "There is no pipeline {what}. `kedro registry list` names those that there are.",
    ),
    (r"Permission denied|AccessDenied", "A folder may not be read or written: check its permissions."),
)


@contextmanager
def told_once() -> Iterator[None]:
    """Keeps Kedro and Py4J from logging a failure that the command line is about to explain."""
    names = ("kedro.pipeline.node", "kedro.validation.parameter_validator", None)  # None: Py4J logs Ctrl-C on the root
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(_is_no_error)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_no_error)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def explain(error: BaseException) -> str | None:
    """Says in one message what failed and what mends it.

    Args:
        error: Whatever a run raised.

    Returns:
        The message; None for errors nobody has foreseen, whose traceback is worth more than any message.
    """
    interrupt = interrupt_in(error)
    chain = list(causes_of(error))
    message = _ended(interrupt) if interrupt else _message(chain)
    runs = [note for link in chain for note in getattr(link, "__notes__", ()) if note.startswith(RUN)]
    return f"{message} ({runs[0]})" if message and runs else message


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """What ended a run, if somebody did: its error may be one that Py4J met with while it gave up an interrupted call.

    Args:
        error: Whatever a run raised.

    Returns:
        Ctrl-C or SIGTERM, wherever it is among the causes; None if the run failed of itself.
    """
    return next((link for link in causes_of(error) if isinstance(link, KeyboardInterrupt)), None)


def _ended(interrupt: KeyboardInterrupt) -> str:
    return f"{'Terminated' if isinstance(interrupt, Terminated) else 'Interrupted'}. {_CONTINUE}"


def _message(chain: list[BaseException]) -> str | None:
    for link in chain:
        if isinstance(link, FruitsError):
            return str(link)
        if isinstance(link, ParameterValidationError):
            return _parameters(str(link))
    return _from_known_words(chain)


def _parameters(message: str) -> str:
    """Pydantic's findings as `group.field: what is wrong (given: value)`, one a line."""
    group, field, findings = "", "", []
    for line in message.splitlines():
        named = re.search(r"for parameter '([^']+)'", line)
        finding = re.match(r"  (\S.*?)(?: \[type=.*?input_value=(.*), input_type=.*)?$", line)
        if named:
            group = named[1]
        elif re.fullmatch(r"\w[\w.]*", line):
            field = line
        elif finding:
            findings.append(f"{group}.{field}: {finding[1]} (given: {finding[2]})")
    where = "conf/base/parameters_<pipeline>.yml lists all parameters with their meaning."
    return "\n".join(["Parameters out of range or unknown:", *(findings or [message]), where])


def _from_known_words(chain: list[BaseException]) -> str | None:
    text = "\n".join(str(link) for link in chain)
    for pattern, message in _KNOWN:
        match = re.search(pattern, text)
        if match:
            return f"{message.format(**match.groupdict())} {TRACEBACK_HINT}"
    if any(isinstance(link, DatasetError) for link in chain) and len(chain) == 1:
        return str(chain[0])
    return None
