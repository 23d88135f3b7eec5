"""Short transactions on connections of our own, blocking or suspending: the only place where the two differ.

What is done within one is written once, as a plain function over a `Connection`: an async engine runs the
same function, and suspends underneath it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from opencode_sessions.runtime.tasks import guarded
from opencode_sessions.store.conflicts import ATTEMPTS, lost_to_another

__all__ = ["Prepare", "Transactions", "transactions_over"]

_log = logging.getLogger("opencode_sessions.sqlalchemy")

T = TypeVar("T")
Prepare: TypeAlias = Callable[[Connection], object]


class Transactions(ABC):
    """Runs a function on a connection that is taken for it and given back after it."""

    async def run(self, work: Callable[[Connection], T], *, commit: bool = False) -> T:
        """Call `work` in a transaction, which is rolled back unless it is to be committed.

        A transaction that lost to another is tried again, so `work` may be called several times.

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
    """Blocking ones over an ordinary engine, suspending ones over an async engine's inner one.

    Args:
        engine: Where the connections come from.
        prepare: Called with each connection, as the first thing in its transaction.
    """
    if engine.dialect.is_async:
        return _SuspendingTransactions(AsyncEngine(engine), prepare)
    return _BlockingTransactions(engine, prepare)


def _prepared(prepare: Prepare | None, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    if prepare is None:
        return work

    def both(connection: Connection) -> T:
        prepare(connection)
        return work(connection)

    return both


class _BlockingTransactions(Transactions):
    """Does its work and returns, without ever suspending."""

    def __init__(self, engine: Engine, prepare: Prepare | None) -> None:
        self._engine = engine
        self._prepare = prepare

    async def _once(self, work: Callable[[Connection], T], *, commit: bool) -> T:
        with self._engine.begin() if commit else self._engine.connect() as connection:
            return _prepared(self._prepare, work)(connection)


class _SuspendingTransactions(Transactions):
    """Suspends wherever the database is waited for.

    A transaction ends before its caller's cancellation goes on: one that is cancelled under aiosqlite keeps SQLite's
    lock until the garbage collector finds its cursor, and asyncpg must close its connection.
    """

    def __init__(self, engine: AsyncEngine, prepare: Prepare | None) -> None:
        self._engine = engine
        self._prepare = prepare

    async def _once(self, work: Callable[[Connection], T], *, commit: bool) -> T:
        return await guarded(self._transaction(work, commit=commit), cancels=False)

    async def _transaction(self, work: Callable[[Connection], T], *, commit: bool) -> T:
        async with self._engine.begin() if commit else self._engine.connect() as connection:
            return await connection.run_sync(_prepared(self._prepare, work))
