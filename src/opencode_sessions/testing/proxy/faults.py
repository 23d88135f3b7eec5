"""What a proxy is told to do to the bytes that it carries, and what it has done. Plain values, no sockets."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

__all__ = ["CutAfter", "Direction", "DropAnswer", "Fault", "Kind", "Orders", "chosen"]

Direction = Literal["up", "down"]
"""`up` is from the client to the target, `down` is back."""

Kind = Literal["cut", "cut_after", "half_close", "delay", "stall", "slow", "refuse", "drop_answer"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that happened.

    Attributes:
        kind: The method that ordered it.
        connection: Which connection it struck, counted from 1; None where it is the proxy's for all.
        direction: In which direction, if in one.
    """

    kind: Kind
    connection: int | None = None
    direction: Direction | None = None


@dataclass(eq=False, slots=True)
class CutAfter:
    """Cut the first connection that carries so many more bytes in a direction.

    Attributes:
        since: How much each lane had carried when its bytes began to count. A lane that is not here counts
            from its first byte, unless there is something to match: then it does not count yet.
    """

    count: int
    direction: Direction
    matching: bytes | None
    since: dict[Hashable, int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class DropAnswer:
    """Lose what is answered to the next request with these bytes in it."""

    matching: bytes


@dataclass(slots=True)
class Orders:
    """The faults that are switched on. The proxy's thread alone reads and changes them."""

    random: Random
    delays: dict[Direction, tuple[float, float]] = field(default_factory=dict)
    rates: dict[Direction, float] = field(default_factory=dict)
    stalled: set[Direction] = field(default_factory=set)
    cuts: list[CutAfter] = field(default_factory=list)
    drops: list[DropAnswer] = field(default_factory=list)

    def delay(self, direction: Direction) -> float:
        """Seconds that the next bytes are held back."""
        seconds, jitter = self.delays.get(direction, (0.0, 0.0))
        return seconds + (self.random.uniform(0, jitter) if jitter else 0.0)

    def patterns(self) -> list[CutAfter | DropAnswer]:
        """The orders that wait for certain bytes of a client."""
        return [*self.drops, *(cut for cut in self.cuts if cut.matching is not None)]

    def clear(self) -> None:
        """No faults."""
        for switched_on in (self.delays, self.rates, self.stalled, self.cuts, self.drops):
            switched_on.clear()


def chosen(direction: Direction | None) -> tuple[Direction, ...]:
    """The directions that an order is for; None means both."""
    return ("up", "down") if direction is None else (direction,)
