"""Short transactions on connections of our own. This is the only place where blocking and suspending differ.

The work of a transaction is written once, as a plain function over a `Connection`. An async engine runs the same
function, and suspends underneath it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from opencode_sessions.runtime.tasks import guarded
from opencode_sessions.store.conflicts import ATTEMPTS, lost_to_another

__all__ = ["Prepare", "Transactions", "transactions_over", "values_hidden"]

_log = logging.getLogger("opencode_sessions.sqlalchemy")

T = TypeVar("T")
Prepare: TypeAlias = Callable[[Connection], object]


class Transactions(ABC):
    """Runs a function on a connection that it checks out before and returns afterwards."""

    async def run(self, work: Callable[[Connection], T], *, commit: bool = False) -> T:
        """Call `work` in a transaction, which is rolled back unless `commit` is true.

        A transaction that lost to another one is repeated, so `work` may be called several times.

        Raises:
            sqlalchemy.exc.DBAPIError: The database refused.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._once(work, commit=commit)
            except DBAPIError as error:
                if not lost_to_another(error.orig):
                    raise
                _log.debug("a transaction lost to another: again")
        return await self._once(work, commit=commit)

    @abstractmethod
    async def _once(self, work: Callable[[Connection], T], *, commit: bool) -> T: ...


def transactions_over(engine: Engine, prepare: Prepare | None = None) -> Transactions:
    """Blocking transactions for an ordinary engine, suspending ones for the inner engine of an async engine.

    Args:
        engine: The source of the connections.
        prepare: Called with each connection, as the first thing in its transaction.
    """
    if engine.dialect.is_async:
        return _SuspendingTransactions(AsyncEngine(engine), prepare)
    return _BlockingTransactions(engine, prepare)


@contextmanager
def values_hidden() -> Iterator[None]:
    """Leave the values of a statement out of the text of its error.

    SQLAlchemy adds them, and they are prompts and answers. The text goes to the log and into the `error` of a message.
    """
    try:
        yield
    except StatementError as error:
        error.hide_parameters = True
        raise


def _prepared(prepare: Prepare | None, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    def both(connection: Connection) -> T:
        with values_hidden():
            if prepare is not None:
                prepare(connection)
            return work(connection)

    return both


class _BlockingTransactions(Transactions):
    """Transactions that block, and never suspend."""

    def __init__(self, engine: Engine, prepare: Prepare | None) -> None:
        self._engine = engine
        self._prepare = prepare

    async def _once(self, work: Callable[[Connection], T], *, commit: bool) -> T:
        with self._engine.begin() if commit else self._engine.connect() as connection:
            return _prepared(self._prepare, work)(connection)


class _SuspendingTransactions(Transactions):
    """Transactions that suspend while they wait for the database.

    A cancelled caller waits for the end of its transaction. With aiosqlite, a cancelled transaction would keep SQLite's
    lock until the garbage collector finds its cursor, and asyncpg would have to close its connection.
    """

    def __init__(self, engine: AsyncEngine, prepare: Prepare | None) -> None:
        self._engine = engine
        self._prepare = prepare

    async def _once(self, work: Callable[[Connection], T], *, commit: bool) -> T:
        return await guarded(self._transaction(work, commit=commit), cancels=False)

    async def _transaction(self, work: Callable[[Connection], T], *, commit: bool) -> T:
        async with self._engine.begin() if commit else self._engine.connect() as connection:
            return await connection.run_sync(_prepared(self._prepare, work))
