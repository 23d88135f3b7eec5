"""Deleting the sessions that a record's row no longer names, best effort.

A session can exist although its creation failed: the server may have done the work before the error. Or the caller that
created it was slower than the caller that gave the row another id. Such ids are kept as doubtful until the row is
ready. At the end of a walk, also after an error, those that the row does not name are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from opencode_sessions.errors import RecordGoneError
from opencode_sessions.reporting import ErrorContext, ErrorReporter, OnError
from opencode_sessions.sessions.deletion import remove
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.store.records import RecordState, RecordStore

__all__ = ["Discarding"]


class Discarding:
    """The part of a lifecycle that deletes. Its errors are reported, never raised."""

    def __init__(self, store: RecordStore, on_error: OnError | None) -> None:
        self.store = store
        self._report = ErrorReporter(on_error)
        self._doubtful: set[str] = set()

    async def _discard_replaced(self, wire: SessionWire, replaced: Sequence[str], row: RecordState) -> None:
        """Delete the sessions that this row's id replaced, also those that may have been created late."""
        await self._discard_doubtful(wire, row)
        for session_id in dict.fromkeys(replaced):
            if session_id != row.session_id:
                await self._discard(wire, session_id, "delete_replaced", used=True)

    async def _discard_doubtful(self, wire: SessionWire, row: RecordState | None = None) -> None:
        """Delete every doubtful session that the row does not name; the row is read if the caller has not."""
        if not self._doubtful:
            return
        try:
            row = row or await self.store.load()
        except RecordGoneError:
            row = RecordState()
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            self.report_suppressed("delete_unconfirmed", None, error)
            return
        for session_id in sorted(self._doubtful - {row.session_id}):
            await self._discard(wire, session_id, "delete_unconfirmed", used=False)
        if row.ready:
            self._doubtful.clear()

    async def _remove(self, wire: SessionWire, session_id: str) -> None:
        for error in await remove(wire, session_id):
            self.report_suppressed("reject_asks", session_id, error)

    async def _discard(self, wire: SessionWire, session_id: str, action: str, *, used: bool) -> None:
        """Delete a session that no row names, best effort; `used` if it may have been prompted."""
        self._doubtful.discard(session_id)
        try:
            if used:
                await self._remove(wire, session_id)
            else:
                await wire.delete(session_id)
        except Exception as error:  # noqa: BLE001 - best effort: it is reported, not raised
            self.report_suppressed(action, session_id, error)

    def report_suppressed(self, action: str, session_id: str | None, error: Exception) -> None:
        """Report an error that must not be raised."""
        self._report(error, ErrorContext(action, self.store.key, session_id))
