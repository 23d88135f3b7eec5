"""Waiting with threads: the sync API."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from opencode_sessions.runtime.closing import Closing
from opencode_sessions.runtime.ports import LONGEST_TURN, Bell, Buffer, Mailbox, closed
from opencode_sessions.runtime.stepping import run_sync

__all__ = ["ThreadBell", "ThreadLock", "Threads"]

T = TypeVar("T")


class Threads(Closing):
    """The sync API."""

    def __init__(self) -> None:
        super().__init__()
        self._joined: set[threading.Thread] = set()
        self._ended = threading.Event()
        self._first: dict[str, threading.Event] = {}

    def _renew(self) -> None:
        """Renew the state in a forked child, where no thread is in a block of `in_turn`."""
        super()._renew()
        self._first = {}

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        if self._ended.wait(seconds):
            raise closed()

    def mailbox(self, buffer: Buffer) -> Mailbox:
        """See `Runtime.mailbox`."""
        return _ThreadMailbox(buffer)

    def bell(self) -> Bell:
        """See `Runtime.bell`."""
        return ThreadBell()

    def spawn(
        self, main: Callable[[], Coroutine[Any, Any, None]], name: str, *, joined: bool = False
    ) -> Callable[[], object]:
        """See `Clock.spawn`."""
        thread = threading.Thread(target=lambda: run_sync(main()), name=name, daemon=True)
        thread.start()
        if joined:
            self._joined.difference_update([other for other in list(self._joined) if not other.is_alive()])
            self._joined.add(thread)
        return lambda: None

    async def call(self, function: Callable[[], T]) -> T:
        """See `Clock.call`."""
        return function()

    @asynccontextmanager
    async def in_turn(self, key: str) -> AsyncIterator[None]:
        """See `Clock.in_turn`."""
        left = threading.Event()
        first = self._first.setdefault(key, left)
        if first is not left:
            first.wait(LONGEST_TURN)
            yield
            return
        try:
            yield
        finally:
            self._first.pop(key, None)
            left.set()

    async def join(self, timeout: float) -> None:
        """See `Runtime.join`."""
        self._ended.set()
        deadline = self.monotonic() + timeout
        for thread in self._joined - {threading.current_thread()}:
            thread.join(max(deadline - self.monotonic(), 0))


class ThreadBell:
    """See `Bell`."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self.ring = self._rung.set

    async def wait(self, timeout: float) -> bool:
        """See `Bell.wait`."""
        rung = self._rung.wait(timeout)
        self._rung.clear()
        return rung


class ThreadLock:
    """A lock of threads, for an `async with` that blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class _ThreadMailbox:
    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._arrived = threading.Condition()

    def put(self, item: Any) -> None:
        with self._arrived:
            self._buffer.put(item)
            self._arrived.notify()

    async def get(self, timeout: float | None) -> Any | None:
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._buffer), timeout)
            return self._buffer.take()
