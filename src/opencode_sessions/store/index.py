"""The port of an index: which of many sessions the rows of one table name; and the in-memory one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, TypeVar

from opencode_sessions.store.memory import MemoryRecord

__all__ = ["MemoryIndex", "SessionIndex", "batches"]

T = TypeVar("T")

_BATCH = 500
"""How many values one statement takes. Databases have limits, the lowest of which is 999 (SQLite before 3.32)."""


class SessionIndex(Protocol):
    """The rows of one table, or of a part of it, by the sessions that they name.

    It asks where rows are written, in a transaction that begins with the question: a replica that lags, or a
    snapshot that was taken earlier, would not know a session that was made since, and it would be deleted.
    """

    @property
    def table(self) -> str:
        """What the keys of its rows begin with, before the colon; see `RecordStore.key`."""

    async def named(self, session_ids: Collection[str]) -> set[str]:
        """Which of these ids rows name now, whatever state they are in.

        Raises:
            OpenTransactionError: The caller holds a transaction open.
        """


class MemoryIndex:
    """`SessionIndex` over records in memory."""

    table = "memory"

    def __init__(self, *records: MemoryRecord) -> None:
        self._records = records

    async def named(self, session_ids: Collection[str]) -> set[str]:
        """See `SessionIndex.named`."""
        named = {record.opencode_session_id for record in self._records if not record.deleted}
        return {session_id for session_id in session_ids if session_id in named}


def batches(values: Collection[T]) -> Iterator[Sequence[T]]:
    """The values in parts that one statement can take."""
    rest = list(values)
    for start in range(0, len(rest), _BATCH):
        yield rest[start : start + _BATCH]
