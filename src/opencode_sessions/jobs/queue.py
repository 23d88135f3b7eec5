"""`RecordQueue`: hands the parked turns of one record to whoever runs jobs.

Such a row is pending, has a place (`TurnTable.reserve`), and no lease; or it is streaming and parked. Neither side can
miss the other: whoever parks a turn looks afterwards whether the other still runs, and whoever ends a turn looks
afterwards for the next one. If that one's process dies in between, the next look for abandoned turns finds it.
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.jobs.ports import Dispatcher
from opencode_sessions.store.turn_table import TurnTable

__all__ = ["RecordQueue"]


class RecordQueue:
    """A `TurnQueue` over a table.

    Args:
        table: Where the turns are.
        message: The one whose turn it is.
        dispatcher: Who has them run.
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
