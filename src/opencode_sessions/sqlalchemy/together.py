"""`RowsTogether`: the snapshots of the turns of one table, written in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select, tuple_

from opencode_sessions.runtime.tasks import TaskLock, guarded
from opencode_sessions.runtime.threads import ThreadLock
from opencode_sessions.sqlalchemy.rows import Row
from opencode_sessions.sqlalchemy.tables import Identity, MappedTable
from opencode_sessions.sqlalchemy.transactions import Transactions
from opencode_sessions.store.together import RowWrite, Together

__all__ = ["RowsTogether"]


class RowsTogether(Together[Row]):
    """See `Together`.

    Args:
        table: The table of the rows.
        transactions: The transactions of its engine.
        suspends: Whether the transactions suspend.
    """

    def __init__(self, table: MappedTable, transactions: Transactions, *, suspends: bool) -> None:
        super().__init__(TaskLock if suspends else ThreadLock)
        self._table = table
        self._transactions = transactions
        self._suspends = suspends

    async def write(self, row: Row, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        """See `Together.write`. A cancelled task waits for the transaction, as for one of its own."""
        writing = super().write(row, expected, values)
        return await (guarded(writing, cancels=False) if self._suspends else writing)

    async def _transaction(self, writes: Sequence[RowWrite[Row]]) -> Sequence[bool]:
        def work(connection: Connection) -> list[bool]:
            free = self._lock_free(connection, [write.row.identity for write in writes])
            return [
                write.row.identity in free
                and self._table.update(
                    connection, write.row.identity, expected=write.expected, values=write.values
                )
                for write in writes
            ]

        return await self._transactions.run(work, commit=True)

    def _lock_free(self, connection: Connection, identities: Sequence[Identity]) -> set[Identity]:
        """Lock the rows that no other transaction has locked."""
        if connection.dialect.name == "sqlite":  # which locks no rows
            return set(identities)
        key = self._table.primary_key
        which = (
            key[0].in_([identity[0] for identity in identities])
            if len(key) == 1
            else tuple_(*key).in_(identities)
        )
        found = connection.execute(
            select(*key).where(which).with_for_update(skip_locked=True, key_share=True)
        )
        return {tuple(identity) for identity in found}
