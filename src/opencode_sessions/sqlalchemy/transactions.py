"""Short transactions on connections of our own, blocking or suspending: the only place where the two differ.

What is done within one is written once, as a plain function over a `Connection`: an async engine runs the
same function, and suspends underneath it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from opencode_sessions.store.conflicts import ATTEMPTS, lost_to_another

__all__ = ["Transactions", "transactions_over"]

_log = logging.getLogger("opencode_sessions.sqlalchemy")

T = TypeVar("T")


class Transactions(ABC):
    """Runs a function on a connection that is taken for it and given back after it."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Call `work`; what it did not commit is rolled back.

        A transaction that lost to another is tried again, so `work` may be called several times.

        Raises:
            sqlalchemy.exc.DBAPIError: The database refused.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._once(work)
            except DBAPIError as error:
                if not lost_to_another(error.orig):
                    raise
                _log.debug("a transaction lost to another: again")
        return await self._once(work)

    @abstractmethod
    async def _once(self, work: Callable[[Connection], T]) -> T: ...


def transactions_over(engine: Engine) -> Transactions:
    """Blocking ones over an ordinary engine, suspending ones over an async engine's inner one."""
    if engine.dialect.is_async:
        return _SuspendingTransactions(AsyncEngine(engine))
    return _BlockingTransactions(engine)


class _BlockingTransactions(Transactions):
    """Does its work and returns, without ever suspending."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def _once(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)


class _SuspendingTransactions(Transactions):
    """Suspends wherever the database is waited for."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _once(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)
