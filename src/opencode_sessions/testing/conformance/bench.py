"""What the author of a store brings to the suite: rows, callers of them, and what can happen to them."""

from __future__ import annotations

import asyncio
import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeVar

import pytest

from opencode_sessions.runtime.stepping import run_sync

__all__ = ["BlockingBench", "RecordBench", "SuspendingBench"]

T = TypeVar("T")

_PATIENCE = 60.0
"""Seconds until a race whose runners do not all come to its start is given up."""


class RecordBench(ABC):
    """Rows of one database, and the sync or the async API.

    `store`, `delete` and the row that a suite is about are all that a store's author has to write, over
    `BlockingBench` or `SuspendingBench`, which know how a store of their API is called. Everything below
    `close` is an ability that a bench may have; the tests that want one that it has not are skipped, and say so.

    Attributes:
        collision: What the database raises where another row has a session's, or a prompt's, id already.
    """

    collision: type[Exception] | None = None

    def record(self) -> Any:
        """For `RecordStoreConformance`: a new row, committed, that names no session.

        Returns:
            Whatever you want to name it by. With a `recipe` it must be picklable, such as a primary key.
        """
        raise NotImplementedError(f"{type(self).__name__} needs record(), which makes a new row")

    def message(self, prompt: str) -> Any:
        """For `MessageStoreConformance`: a new row, committed, whose turn is pending and asks this; as `record`."""
        raise NotImplementedError(f"{type(self).__name__} needs message(prompt), which makes a new row")

    @abstractmethod
    def store(self, row: Any, /) -> Any:
        """A store of the row for one more caller: with a copy of the row of its own, if it has one at all."""

    @abstractmethod
    def delete(self, row: Any, /) -> None:
        """Let the row vanish, as its owner would delete it."""

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run one call of a store to its end."""

    @abstractmethod
    def at_once(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run so many calls at once, as this API does, and return their results in the same order."""

    def close(self) -> None:  # noqa: B027 - not every bench has something to let go of
        """Let go of connections. Called on the benches that come from a `recipe`; your fixture closes its own."""

    def idle(self) -> bool:
        """Is nothing held: no open transaction, and no connection that is not back where it came from?"""
        return self._cannot("tell whether something is held (idle)")

    def open_transaction(
        self,
        row: Any,  # noqa: ARG002 - likewise
        /,
    ) -> AbstractContextManager[Any]:
        """A store of a caller who has a transaction open within the context, in a way that the store can see."""
        return self._cannot("open a transaction of a caller's (open_transaction)")

    def replace(
        self,
        row: Any,  # noqa: ARG002 - likewise
        /,
    ) -> None:
        """Let another row take the row's place, with the same key, as in another tenant's schema."""
        self._cannot("put another row in the place of one (replace)")

    def clock_off(self, seconds: float) -> AbstractContextManager[Any]:
        """Within the context this host's clock is off by so many seconds. That of the database is not."""
        return self._cannot(f"set its host's clock (clock_off by {seconds:+g} s)")

    def under(self, level: str) -> AbstractContextManager[RecordBench]:
        """Another bench over the same database, under an isolation level, such as ``"REPEATABLE READ"``."""
        return self._cannot(f"set an isolation level (under {level})")

    def breaking(
        self,
        *,
        done: bool,  # noqa: ARG002 - likewise
    ) -> AbstractContextManager[RecordBench]:
        """Another bench over the same rows, on which the next commit is the end of its connection. Once.

        Args:
            done: Whether the database commits before the connection breaks. Otherwise it breaks before
                the database has heard of it, and what was written is lost.
        """
        return self._cannot("break a connection (breaking)")

    def recipe(self) -> Callable[[], RecordBench]:
        """What makes a bench over the same rows in another process; picklable.

        A function of an importable module, or a `functools.partial` of one.
        """
        return self._cannot("be made in another process (recipe)")

    def _cannot(self, what: str) -> NoReturn:
        pytest.skip(f"{type(self).__name__} cannot {what}")


class BlockingBench(RecordBench):
    """For stores of `opencode_sessions`: called in this thread, raced from others."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """See `RecordBench.run`."""
        return run_sync(coroutine)

    def at_once(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """See `RecordBench.at_once`: each in a thread of its own."""
        start = threading.Barrier(len(calls))

        def runner(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
            try:
                start.wait(_PATIENCE)
                return run_sync(call())
            finally:
                self.leave_thread()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(runner, calls))

    def leave_thread(self) -> None:
        """Called in each thread of a race at its end; close what it keeps for itself."""


class SuspendingBench(RecordBench):
    """For stores of `opencode_sessions.aio`: called on an event loop, raced as tasks of it."""

    @functools.cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one event loop of this bench."""
        return asyncio.new_event_loop()

    def close(self) -> None:
        """See `RecordBench.close`: this closes the loop."""
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """See `RecordBench.run`."""
        return self.loop.run_until_complete(coroutine)

    def at_once(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """See `RecordBench.at_once`: each as a task."""

        async def everybody() -> list[T]:
            tasks = [asyncio.ensure_future(call()) for call in calls]
            await asyncio.wait(tasks)
            return [task.result() for task in tasks]

        return self.run(everybody())
