"""The port of an index, which finds the sessions that the rows of a table name; and the in-memory index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, TypeVar

from opencode_sessions.store.memory import MemoryRecord

__all__ = ["MemoryIndex", "SessionIndex", "batches"]

T = TypeVar("T")

_BATCH = 500
"""How many values one statement gets. The lowest limit of a database is 999 (SQLite before 3.32)."""


class SessionIndex(Protocol):
    """The rows of one table, or of a part of it, by the sessions that they name.

    It queries the primary database, in a transaction that begins with the query. A replica that lags, or an older
    snapshot, would miss a session that was created since, and that session would be deleted.
    """

    @property
    def table(self) -> str:
        """The part of its rows' keys before the colon; see `RecordStore.key`."""

    async def named(self, session_ids: Collection[str]) -> set[str]:
        """The ids among these that rows name now, in any state.

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
    """The values in batches that fit into one statement."""
    rest = list(values)
    for start in range(0, len(rest), _BATCH):
        yield rest[start : start + _BATCH]
