"""Waiting with asyncio: the async API."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio

from opencode_sessions.runtime.closing import Closing
from opencode_sessions.runtime.ports import LONGEST_TURN, Bell, Buffer, Mailbox, closed

__all__ = ["TaskBell", "TaskLock", "Tasks", "guarded", "in_own_thread"]

_log = logging.getLogger("opencode_sessions.turn")

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds for which a cancelled task waits for its guarded coroutine, at most."""


class Tasks(Closing):
    """The async API, on the event loop that runs at its first use."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: set[asyncio.Task[None]] = set()
        self._first: dict[str, asyncio.Event] = {}
        self._ended = False

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)
        if self._ended:
            raise closed()

    def mailbox(self, buffer: Buffer) -> Mailbox:
        """See `Runtime.mailbox`."""
        return _TaskMailbox(buffer)

    def bell(self) -> Bell:
        """See `Runtime.bell`."""
        return TaskBell()

    def spawn(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        *,
        joined: bool = False,  # noqa: ARG002 - every task ends soon: `join` cancels it
    ) -> Callable[[], object]:
        """See `Clock.spawn`."""
        task = asyncio.get_running_loop().create_task(main(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    async def call(self, function: Callable[[], T]) -> T:
        """See `Clock.call`. It may wait for a person; see `in_own_thread`."""
        return await in_own_thread(function)

    @asynccontextmanager
    async def in_turn(self, key: str) -> AsyncIterator[None]:
        """See `Clock.in_turn`."""
        left = asyncio.Event()
        first = self._first.setdefault(key, left)
        if first is not left:
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_TURN):
                    await first.wait()
            yield
            return
        try:
            yield
        finally:
            self._first.pop(key, None)
            left.set()

    async def join(self, timeout: float) -> None:
        """See `Runtime.join`."""
        self._ended = True
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)


async def in_own_thread(function: Callable[[], T]) -> T:
    """Call a function that may block for long in a daemon thread of its own, and return its result.

    The few threads of `asyncio.to_thread` also look up names for the loop, and the process waits for them at its end.

    Raises:
        RuntimeError: No more threads can be started.
    """
    ended: Future[T] = Future()
    ended.set_running_or_notify_cancel()  # a caller that stops waiting does not stop the function
    context = copy_context()

    def main() -> None:
        try:
            ended.set_result(context.run(function))
        except StopIteration:  # a future refuses it, and a coroutine raises RuntimeError in its place
            ended.set_exception(RuntimeError(f"{function!r} raised StopIteration"))
        except BaseException as error:  # noqa: BLE001 - raised to the caller
            ended.set_exception(error)

    threading.Thread(target=main, name="opencode-sessions call", daemon=True).start()
    return await asyncio.wrap_future(ended)


class TaskBell:
    """See `Bell`. It belongs to the event loop in which it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """See `Bell.ring`."""
        with suppress(RuntimeError):  # the loop is closed, and with it the task that waited
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, timeout: float) -> bool:
        """See `Bell.wait`."""
        try:
            # Not wait_for, which sometimes swallows a cancellation (Python 3.11).
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            return False
        finally:
            self._rung.clear()
        return True


class TaskLock:
    """A lock of tasks. Each event loop has its own."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def __aenter__(self) -> None:
        await self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()).acquire()

    async def __aexit__(self, *_: object) -> None:
        self._locks[asyncio.get_running_loop()].release()


class _TaskMailbox:
    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._arrived = asyncio.Event()

    def put(self, item: Any) -> None:
        self._buffer.put(item)
        self._arrived.set()

    async def get(self, timeout: float | None) -> Any | None:
        if not self._buffer:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._buffer.take()


async def guarded(main: Coroutine[Any, Any, T], *, cancels: bool) -> T:
    """Run a coroutine in a task of its own, so that it can clean up undisturbed, and return its result.

    A task can be cancelled again while it cleans up, and anyio cancels a task at each of its awaits until it ends. The
    task here is cancelled at most once. A cancelled caller waits for its end, for at most 10 s, before the cancellation
    goes on.

    Args:
        main: The coroutine.
        cancels: Whether a cancelled caller cancels the task at all.
    """
    task = asyncio.get_running_loop().create_task(main)
    _guarded.add(task)
    task.add_done_callback(_guarded.discard)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        if cancels and not task.cancelling():  # asyncio.run has cancelled all tasks at its end, this one too
            task.cancel()
        await _ended(task)
        raise
    except GeneratorExit:  # the caller is gone
        with suppress(RuntimeError):  # the loop is closed
            task.cancel()
        raise
    try:
        return task.result()
    finally:
        del task  # its error refers to this frame, and the cycle would keep a turn's reply in memory


_guarded: set[asyncio.Task[Any]] = set()
"""The loop keeps weak references only."""


async def _ended(task: asyncio.Task[Any]) -> None:
    deadline = time.monotonic() + _PATIENCE
    with anyio.CancelScope(shield=True):
        while not task.done() and (left := deadline - time.monotonic()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=left)
    if not task.done():
        _log.warning("a cancelled task has waited %g s for what it began, which goes on alone", _PATIENCE)
    elif not task.cancelled():
        task.exception()  # the caller's cancellation is raised instead
