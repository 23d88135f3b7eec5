"""`RecordQueue`: dispatches parked turns.

| it waits for | its row |
|---|---|
| a person | is streaming and parked |
| another turn of its record | is pending, has a place among the record's turns (`TurnTable.reserve`), and no lease |
| a place under a limit | is pending and parked |

No turn is forgotten: the process that parks a turn checks afterwards whether the turn still has to wait. The process
that ends a turn looks afterwards for the next one. If a process dies in between, recovery finds the turn.
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.jobs.ports import Dispatcher
from opencode_sessions.store.turn_table import MayBegin, Place, TurnJob, TurnTable, always

__all__ = ["RecordQueue"]


class RecordQueue:
    """A `TurnQueue` over a table.

    Args:
        table: The table of the turns.
        message: The message of the turn.
        dispatcher: Makes the turns run.
        may_begin: Says of the message of a waiting turn whether a limit keeps it from beginning.
    """

    def __init__(
        self, table: TurnTable, message: Any, dispatcher: Dispatcher, may_begin: MayBegin = always
    ) -> None:
        self._table = table
        self._message = message
        self._dispatcher = dispatcher
        self._may_begin = may_begin

    async def put(self) -> None:
        """See `TurnQueue.put`."""
        self._dispatch(await self._table.resume(self._message, self._dispatcher.pending_lease))

    async def put_next(self) -> None:
        """See `TurnQueue.put_next`."""
        self._dispatch(await self._table.resume_next(self._message, self._dispatcher.pending_lease))

    async def put_waiting(self, place: Place) -> None:
        """See `TurnQueue.put_waiting`."""
        lease = self._dispatcher.pending_lease
        self._dispatch(await self._table.resume_waiting(self._message, place, lease, self._may_begin))

    def _dispatch(self, job: TurnJob | None) -> None:
        if job is not None:
            self._dispatcher.dispatch(job)
