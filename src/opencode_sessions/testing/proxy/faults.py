"""The orders to a proxy, and the faults that it has caused. Plain values, without sockets."""

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
        connection: The number of the connection, from 1; None if it affects all connections.
        direction: The direction; None if it affects both.
    """

    kind: Kind
    connection: int | None = None
    direction: Direction | None = None


@dataclass(eq=False, slots=True)
class CutAfter:
    """Cut the first connection that carries a number of further bytes in a direction.

    Attributes:
        since: The bytes that each lane had carried when counting began. A lane that is missing here counts from its
            first byte, unless there is a pattern that has not matched yet.
    """

    count: int
    direction: Direction
    matching: bytes | None
    since: dict[Hashable, int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class DropAnswer:
    """Lose the answer to the next request that contains these bytes."""

    matching: bytes


@dataclass(slots=True)
class Orders:
    """The active orders. Only the proxy's thread reads and changes them."""

    random: Random
    delays: dict[Direction, tuple[float, float]] = field(default_factory=dict)
    rates: dict[Direction, float] = field(default_factory=dict)
    stalled: set[Direction] = field(default_factory=set)
    cuts: list[CutAfter] = field(default_factory=list)
    drops: list[DropAnswer] = field(default_factory=list)

    def delay(self, direction: Direction) -> float:
        """Seconds by which the next bytes are delayed."""
        seconds, jitter = self.delays.get(direction, (0.0, 0.0))
        return seconds + (self.random.uniform(0, jitter) if jitter else 0.0)

    def patterns(self) -> list[CutAfter | DropAnswer]:
        """The orders that wait for a pattern in a client's bytes."""
        return [*self.drops, *(cut for cut in self.cuts if cut.matching is not None)]

    def clear(self) -> None:
        """No faults."""
        for switched_on in (self.delays, self.rates, self.stalled, self.cuts, self.drops):
            switched_on.clear()


def chosen(direction: Direction | None) -> tuple[Direction, ...]:
    """The directions of an order; None means both."""
    return ("up", "down") if direction is None else (direction,)
