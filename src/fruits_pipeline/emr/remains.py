"""What a command has begun, so that whoever interrupts it learns what exists now, what it costs, and how to end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Thing:
    """Something that may exist at AWS because of this command.

    Attributes:
        name: What it is, for a person.
        cost: What it costs, in words.
        remove: The exact command that ends it.
        state: Asks AWS what has become of it; None when it is gone.
    """

    name: str
    cost: str
    remove: str
    state: Callable[[], str | None]


@dataclass
class Remains:
    """The things of one command, in the order in which they were begun."""

    things: list[Thing] = field(default_factory=list)

    def add(self, thing: Thing) -> None:
        """Notes a thing before it is begun: a request may succeed although its answer never arrives."""
        self.things = [other for other in self.things if other.name != thing.name] + [thing]

    def forget(self, name: str) -> None:
        """Takes back what is known to be gone, or finished as it should be."""
        self.things = [thing for thing in self.things if thing.name != name]

    def lines(self) -> list[str]:
        """What exists now, one thing after the other."""
        found = [(thing, _state(thing)) for thing in self.things]
        lines = []
        for thing, state in found:
            if state is not None:
                lines += [f"  {thing.name}: {state}", f"    costs {thing.cost}", f"    end it: {thing.remove}"]
        return ["What exists now:", *lines] if lines else ["Nothing of this command is left at AWS that costs money."]


def _state(thing: Thing) -> str | None:
    """The state; unknown when AWS cannot be asked, or whoever pressed Ctrl-C presses it again."""
    try:
        return thing.state()
    except (Exception, KeyboardInterrupt):
        return "state unknown, AWS does not answer; assume that it runs"
