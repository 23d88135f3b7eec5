"""The bench that the author of a store writes for the suite: it makes rows, stores and faults."""

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

__all__ = ["BlockingBench", "HostTransaction", "RecordBench", "SuspendingBench"]

T = TypeVar("T")

_PATIENCE = 60.0
"""Seconds within which all callers of a race must be ready."""


class HostTransaction(ABC):
    """For `TurnTableConformance`: an open transaction of a host, with its instances of rows.

    Its calls block or suspend, as those of the table do. Savepoints are optional.

    Attributes:
        is_open: False if each call is committed at once, as in memory. Tests that need an open transaction are skipped.
    """

    is_open = True

    @abstractmethod
    async def add(self, record: Any, /) -> Any:
        """A new message of the record, in this transaction, as an instance of the host's."""

    @abstractmethod
    async def get(self, message: Any, /) -> Any:
        """An instance of a message that was committed before."""

    @abstractmethod
    async def commit(self) -> None:
        """Commit, and open no other transaction."""

    @abstractmethod
    async def rollback(self) -> None:
        """Undo all of it."""

    async def savepoint(self) -> None:
        """Open a savepoint within the transaction."""
        pytest.skip(f"{type(self).__name__} cannot open a savepoint")

    async def end_savepoint(
        self,
        *,
        rollback: bool,  # noqa: ARG002 - not every bench has savepoints
    ) -> None:
        """Release the innermost savepoint, or roll back to it."""
        pytest.skip(f"{type(self).__name__} cannot open a savepoint")


class RecordBench(ABC):
    """Rows of one database, and the sync or the async API.

    The author of a store writes `store`, `delete` and the method that makes a row, in a subclass of `BlockingBench` or
    `SuspendingBench`. All methods below `close` are optional; tests that need a missing one are skipped with its name.

    Attributes:
        collision: The database's error if another row has the same session id or prompt id.
    """

    collision: type[Exception] | None = None

    def record(self) -> Any:
        """For `RecordStoreConformance`: a new row, committed, that names no session.

        Returns:
            A name for the row, of your choice. With a `recipe` it must be picklable, such as a primary key.
        """
        raise NotImplementedError(f"{type(self).__name__} needs record(), which makes a new row")

    def message(self, prompt: str) -> Any:
        """For `MessageStoreConformance`: a new row, committed, with a pending turn and this prompt; see `record`."""
        raise NotImplementedError(f"{type(self).__name__} needs message(prompt), which makes a new row")

    def table(self) -> Any:
        """For `TurnTableConformance`: the table of turns, for one more process."""
        raise NotImplementedError(f"{type(self).__name__} needs table(), which gives the table of turns")

    def rows(self) -> Any:
        """For `TurnTableConformance`: the table for watchers of turns, which may be the same one."""
        return self.table()

    def artifacts(self) -> Any:
        """For `ArtifactStoreConformance`: a store of artifacts, for one more process."""
        raise NotImplementedError(
            f"{type(self).__name__} needs artifacts(), which makes a store of artifacts"
        )

    def message_of(self, record: Any, /) -> Any:
        """For `TurnTableConformance`: a new message of that record, committed and pending; see `message`.

        Its key comes after those of earlier messages.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs message_of(record), which makes a new message"
        )

    def copy(self, row: Any, /) -> Any:
        """For `TurnTableConformance`: an instance of a message, fresh from its row and outside of any transaction."""
        raise NotImplementedError(
            f"{type(self).__name__} needs copy(row), which gives an instance of a message"
        )

    def name_of(self, instance: Any, /) -> Any:
        """For `TurnTableConformance`: the name of an instance, as `message_of` returns it."""
        raise NotImplementedError(f"{type(self).__name__} needs name_of(instance), the reverse of copy(row)")

    def begin(self) -> HostTransaction:
        """For `TurnTableConformance`: an open transaction of a host."""
        raise NotImplementedError(f"{type(self).__name__} needs begin(), which opens a host's transaction")

    @abstractmethod
    def store(self, row: Any, /) -> Any:
        """A store of the row for one more caller, with a copy of the row of its own, if stores have copies."""

    @abstractmethod
    def delete(self, row: Any, /) -> None:
        """Delete the row, as its owner would."""

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run one call of a store to its end."""

    @abstractmethod
    def at_once(self, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run these calls at once, in threads or tasks, and return their results in the same order."""

    def close(self) -> None:  # noqa: B027 - not every bench has something to let go of
        """Close connections. Called for the benches from a `recipe`; your fixture closes its own bench."""

    def idle(self) -> bool:
        """Whether no transaction is open, and all connections were given back."""
        return self._cannot("tell whether something is held (idle)")

    def open_transaction(
        self,
        row: Any,  # noqa: ARG002 - likewise
        /,
    ) -> AbstractContextManager[Any]:
        """A store of a caller that has a transaction open within the context, so that the store can see it."""
        return self._cannot("open a transaction of a caller's (open_transaction)")

    def replace(
        self,
        row: Any,  # noqa: ARG002 - likewise
        /,
    ) -> None:
        """Replace the row by another one with the same key, as in another tenant's schema."""
        self._cannot("put another row in the place of one (replace)")

    def write(self, row: Any, /, **values: Any) -> None:  # noqa: ARG002 - likewise
        """Write columns of a message's row, and commit."""
        self._cannot(f"write columns of a row (write {', '.join(values)})")

    def counted(self) -> AbstractContextManager[list[Any]]:
        """Within the context, the list has an element for each statement that a table of turns executed."""
        return self._cannot("count statements (counted)")

    def same_record(self, instance: Any, /) -> Any:  # noqa: ARG002 - likewise
        """The condition, in the form of the table's ORM, that a message has the same record as this instance."""
        return self._cannot("say which messages have the same record (same_record)")

    def strangers(self) -> Sequence[Any]:
        """Instances that a table of turns must refuse: of another model, or without turn columns."""
        return self._cannot("make instances of other models (strangers)")

    def unsaved(
        self,
        record: Any,  # noqa: ARG002 - likewise
        /,
    ) -> Any:
        """An instance of a message of that record that has no row yet, and is in no transaction."""
        return self._cannot("make an instance without a row (unsaved)")

    def failures(self) -> Sequence[Exception]:
        """Errors of a database that cannot be reached, perhaps only now."""
        return self._cannot("say what a database raises that is away (failures)")

    def clock_off(self, seconds: float) -> AbstractContextManager[Any]:
        """Within the context, shift this host's clock by `seconds`, but not the database's."""
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
            done: Whether the database commits before the connection breaks. Otherwise the commit does not reach the
                database, and the writes are lost.
        """
        return self._cannot("break a connection (breaking)")

    def recipe(self) -> Callable[[], RecordBench]:
        """A picklable function that makes a bench over the same rows in another process.

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
        """Called in each thread of a race at its end, to close the thread's own resources."""


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
