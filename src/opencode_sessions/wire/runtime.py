"""Waiting, in two ways: with threads or with tasks. All else about the event stream is written once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from opencode_sessions.errors import ServerUnreachableError
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
        """Wait.

        Raises:
            ServerUnreachableError: The client was closed before or meanwhile, so that nobody tries on and on.
        """

    def mailbox(self) -> Mailbox:
        """A new one."""

    def spawn(
        self, main: Callable[[], Coroutine[Any, Any, None]], name: str, *, joined: bool = False
    ) -> Callable[[], object]:
        """Run `main` beside the caller, as a daemon.

        Args:
            main: What to run.
            name: Its thread's, or its task's.
            joined: `join` waits for it: it ends soon by itself when the client is closed.

        Returns:
            What cancels it, as far as that can be: a thread goes on.
        """

    async def call(self, function: Callable[[], T]) -> T:
        """What an ordinary function returns, which may block: it keeps nothing but its caller waiting."""

    async def join(self, timeout: float) -> None:
        """The client is closed: tell who sleeps, and wait for what ends then, all in all at most `timeout` seconds."""


class Threads:
    """The sync face."""

    def __init__(self) -> None:
        self._joined: set[threading.Thread] = set()
        self._ended = threading.Event()

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """See `Runtime.sleep`."""
        if self._ended.wait(seconds):
            raise _closed()

    def mailbox(self) -> Mailbox:
        """See `Runtime.mailbox`."""
        return _ThreadMailbox()

    def spawn(
        self, main: Callable[[], Coroutine[Any, Any, None]], name: str, *, joined: bool = False
    ) -> Callable[[], object]:
        """See `Runtime.spawn`."""
        thread = threading.Thread(target=lambda: complete(main()), name=name, daemon=True)
        thread.start()
        if joined:
            self._joined.difference_update([other for other in list(self._joined) if not other.is_alive()])
            self._joined.add(thread)
        return lambda: None

    async def call(self, function: Callable[[], T]) -> T:
        """See `Runtime.call`."""
        return function()

    async def join(self, timeout: float) -> None:
        """See `Runtime.join`."""
        self._ended.set()
        deadline = self.monotonic() + timeout
        for thread in self._joined - {threading.current_thread()}:
            thread.join(max(deadline - self.monotonic(), 0))


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
        self._ended = False

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """See `Runtime.sleep`."""
        await asyncio.sleep(seconds)
        if self._ended:
            raise _closed()

    def mailbox(self) -> Mailbox:
        """See `Runtime.mailbox`."""
        return _TaskMailbox()

    def spawn(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        *,
        joined: bool = False,  # noqa: ARG002 - every task ends soon: `join` cancels it
    ) -> Callable[[], object]:
        """See `Runtime.spawn`."""
        task = asyncio.get_running_loop().create_task(main(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

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
        self._ended = True
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


def _closed() -> ServerUnreachableError:
    return ServerUnreachableError("the client was closed")
