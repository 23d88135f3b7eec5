"""The port of a queue, which runs the turns of one record in the background; and the queue of a host without one."""

from __future__ import annotations

from typing import Protocol

from opencode_sessions.store.turn_table import Place

__all__ = ["NoQueue", "TurnQueue"]


class TurnQueue(Protocol):
    """Runs the turns of one record in the background. Each call may come when there is nothing to do."""

    async def put(self) -> None:
        """Enqueue this turn again: it was parked, and can go on."""

    async def put_next(self) -> None:
        """Enqueue the record's next turn that waits, because no other turn blocks it any more."""

    async def put_waiting(self, place: Place) -> None:
        """Have a turn run that waits for such a place, of whatever record: this turn has left one."""


class NoQueue:
    """The `TurnQueue` of a host that runs turns itself."""

    async def put(self) -> None:
        """See `TurnQueue.put`."""

    async def put_next(self) -> None:
        """See `TurnQueue.put_next`."""

    async def put_waiting(self, place: Place) -> None:
        """See `TurnQueue.put_waiting`."""
