"""The port of a queue: who runs the turns of one record beside the requests; and the one of a host without any."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NoQueue", "TurnQueue"]


class TurnQueue(Protocol):
    """Who runs the turns of one record beside the requests. Both calls may come when there is nothing to do."""

    async def put(self) -> None:
        """Have this turn run again: it was parked, and need not be any more."""

    async def put_next(self) -> None:
        """Have the next turn of the record run that waits: none is in its way any more."""


class NoQueue:
    """A `TurnQueue` of a host that runs turns itself."""

    async def put(self) -> None:
        """See `TurnQueue.put`."""

    async def put_next(self) -> None:
        """See `TurnQueue.put_next`."""
