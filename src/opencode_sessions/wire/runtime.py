"""Waiting, in two ways: with threads or with tasks. All else about the event stream is written once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from opencode_sessions.faces import complete
from opencode_sessions.wire.mailbox import Backlog, Item

__all__ = ["Mailbox", "Runtime", "Tasks", "Threads"]

T = TypeVar("T")


class Mailbox(Protocol):
    """Where one subscriber's events wait for it: a `Backlog`, and a way to be woken."""

    def put(self, item: Item) -> None:
        """Add one; never waits for the subscriber."""

    async def get(self, timeout: float | None) -> Item | None:
        """The oldest; None if none came within `timeout` seconds (None: however long)."""


class Runtime(Protocol):
    """How a face waits, and runs something beside its caller."""

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def mailbox(self) -> Mailbox:
        """A new one."""

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run `main` beside the caller, as a daemon."""

    async def call(self, function: Callable[[], T]) -> T:
        """What an ordinary function returns, which may block: it keeps nothing but its caller waiting."""

    async def join(self, timeout: float) -> None:
        """Wait for what was spawned, which was told to end."""


class Threads:
    """The sync face."""

    def __init__(self) -> None:
        self._threads: deque[threading.Thread] = deque(maxlen=8)  # the reader, and probes that are long over
        self._ended = threading.Event()

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """See `Runtime.sleep`."""
        self._ended.wait(seconds)  # which wakes when the client is closed

    def mailbox(self) -> Mailbox:
        """See `Runtime.mailbox`."""
        return _ThreadMailbox()

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """See `Runtime.spawn`."""
        thread = threading.Thread(target=lambda: complete(main()), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    async def call(self, function: Callable[[], T]) -> T:
        """See `Runtime.call`."""
        return function()

    async def join(self, timeout: float) -> None:
        """See `Runtime.join`."""
        self._ended.set()
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(timeout)


class _ThreadMailbox:
    def __init__(self) -> None:
        self._backlog = Backlog()
        self._arrived = threading.Condition()

    def put(self, item: Item) -> None:
        with self._arrived:
            self._backlog.put(item)
            self._arrived.notify()

    async def get(self, timeout: float | None) -> Item | None:
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._backlog), timeout)
            return self._backlog.take()


class Tasks:
    """The async face, on the event loop that runs when it is first used."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """See `Runtime.sleep`."""
        await asyncio.sleep(seconds)

    def mailbox(self) -> Mailbox:
        """See `Runtime.mailbox`."""
        return _TaskMailbox()

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """See `Runtime.spawn`."""
        task = asyncio.get_running_loop().create_task(main(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def call(self, function: Callable[[], T]) -> T:
        """See `Runtime.call`.

        In a daemon thread of its own: the few of `asyncio.to_thread` also look up names for the loop, and are waited
        for when the process ends, and what is called here may wait for a person.
        """
        ended: Future[T] = Future()
        ended.set_running_or_notify_cancel()  # whoever stops waiting stops nothing here
        context = copy_context()

        def main() -> None:
            try:
                ended.set_result(context.run(function))
            except StopIteration:  # which no future takes, and out of a coroutine comes as this
                ended.set_exception(RuntimeError(f"{function!r} raised StopIteration"))
            except BaseException as error:  # noqa: BLE001 - it is whose call it was that minds it
                ended.set_exception(error)

        threading.Thread(target=main, name="opencode-sessions call", daemon=True).start()
        return await asyncio.wrap_future(ended)

    async def join(self, timeout: float) -> None:
        """See `Runtime.join`."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)


class _TaskMailbox:
    def __init__(self) -> None:
        self._backlog = Backlog()
        self._arrived = asyncio.Event()

    def put(self, item: Item) -> None:
        self._backlog.put(item)
        self._arrived.set()

    async def get(self, timeout: float | None) -> Item | None:
        if not self._backlog:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._backlog.take()
