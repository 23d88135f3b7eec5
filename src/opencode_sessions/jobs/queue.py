"""`RecordQueue`: dispatches the parked turns of one record.

The row of such a turn is pending, with a place (`TurnTable.reserve`) and no lease; or it is streaming and parked. No
turn is forgotten: the process that parks a turn checks afterwards whether the other turn still runs, and the process
that ends a turn looks afterwards for the next one. If a process dies in between, recovery finds the turn.
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.jobs.ports import Dispatcher
from opencode_sessions.store.turn_table import TurnTable

__all__ = ["RecordQueue"]


class RecordQueue:
    """A `TurnQueue` over a table.

    Args:
        table: The table of the turns.
        message: The message of the turn.
        dispatcher: Makes the turns run.
    """

    def __init__(self, table: TurnTable, message: Any, dispatcher: Dispatcher) -> None:
        self._table = table
        self._message = message
        self._dispatcher = dispatcher

    async def put(self) -> None:
        """See `TurnQueue.put`."""
        job = await self._table.resume(self._message, self._dispatcher.pending_lease)
        if job is not None:
            self._dispatcher.dispatch(job)

    async def put_next(self) -> None:
        """See `TurnQueue.put_next`."""
        job = await self._table.resume_next(self._message, self._dispatcher.pending_lease)
        if job is not None:
            self._dispatcher.dispatch(job)
