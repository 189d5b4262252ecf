"""Errors that a person can mend: one message, what failed, where, and what to do about it."""

from collections.abc import Iterator


class FruitsError(Exception):
    """Base of all errors that the command line shows as one message instead of a stack trace."""


class InputError(FruitsError):
    """The images, the output folder or the machine's set-up are not as they must be."""


class EncoderError(FruitsError):
    """The network cannot be built, exported or run with these settings."""


class ContractError(FruitsError):
    """A table does not keep its contract (see `fruits_pipeline.contracts`)."""


class QuarantineError(FruitsError):
    """More images than allowed could not be read. Everything is written before this is raised."""


class LockedError(FruitsError):
    """Another run is writing to the same output."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: somebody wants this process to end, as with Ctrl-C."""


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that caused it or was being handled when it was raised, the latest first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
