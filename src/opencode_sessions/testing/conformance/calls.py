"""One call of a store as a value: it can be printed, sent to another process, and made of a model."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from opencode_sessions.errors import RecordGoneError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryRecord, MemoryRecordStore
from opencode_sessions.store.records import RecordState

__all__ = ["DELETE", "GONE", "Call", "Row", "explained", "in_memory"]

GONE: Final = "gone"
"""The answer that is a `RecordGoneError`; also what a row is that has vanished."""

Row = RecordState | str
"""A row's state, or `GONE`."""


@dataclass(frozen=True)
class Call:
    """A call of a store's method."""

    method: str
    arguments: tuple[Any, ...] = ()

    async def on(self, store: Any) -> Any:
        """The store's answer, or `GONE` for a `RecordGoneError` with the store's key."""
        arguments: tuple[Any, ...] = (_made,) if self.method == "read" else self.arguments
        try:
            return await getattr(store, self.method)(*arguments)
        except RecordGoneError as error:
            return GONE if error.record == store.key else error

    def __str__(self) -> str:
        return f"{self.method}({', '.join(map(str, self.arguments))})"


DELETE: Final = Call("delete")
"""Not the store's: the row vanishes."""


def _made(_: object) -> str:
    return "made of the record"


def in_memory(call: Call, row: Row) -> tuple[Any, Row]:
    """What `MemoryRecordStore` answers on that row, and the row afterwards."""
    record = MemoryRecord()
    if isinstance(row, RecordState):
        record.state = row
    record.deleted = row == GONE or call == DELETE
    answer = None if call == DELETE else run_sync(call.on(MemoryRecordStore(record)))
    return answer, GONE if record.deleted else record.state


def explained(row: Row, calls: Sequence[Call], answers: Sequence[Any], end: Row) -> bool:
    """Could calls that were made at once have been made one after the other, with these answers and this end?"""

    @functools.cache
    def explains(row: Row, left: frozenset[int]) -> bool:
        if not left:
            return row == end
        for number in left:
            answer, then = in_memory(calls[number], row)
            if answer == answers[number] and explains(then, left - {number}):
                return True
        return False

    return explains(row, frozenset(range(len(calls))))
