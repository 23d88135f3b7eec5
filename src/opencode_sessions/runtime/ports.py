"""The ports of everything that waits: clock, mailbox, bell, and the runtime of the sync and the async API."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from opencode_sessions.errors import ServerUnreachableError

__all__ = ["LONGEST_TURN", "Bell", "Buffer", "Clock", "Mailbox", "Runtime", "closed"]

T = TypeVar("T")

LONGEST_TURN = 1.0
"""Seconds for which callers of `in_turn` wait for the first caller, at most."""


class Clock(Protocol):
    """Time, waiting, and work in the background."""

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward."""

    async def sleep(self, seconds: float, /) -> None:
        """Wait.

        Raises:
            ServerUnreachableError: The client was closed before or during the wait, so that retries end.
        """

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str, /) -> Callable[[], object]:
        """Run `main` in the background, in a daemon thread or a task with this name.

        Returns:
            A function that cancels it. A thread cannot be cancelled, and goes on.
        """

    def at_close(self, call: Callable[[], Coroutine[Any, Any, None]], /) -> Callable[[], None]:
        """Await `call` when the client is about to be closed in this process, but not in a forked child.

        Returns:
            A function that takes the request back.
        """

    async def call(self, function: Callable[[], T], /) -> T:
        """Call an ordinary function of the host's, which may block. Only this caller waits for it."""

    def in_turn(self, key: str, /) -> AbstractAsyncContextManager[None]:
        """A block that callers with the same key enter after the first caller has left it.

        They wait at most a second, and then all enter at once. It saves work, and is not a lock. Only callers of the
        same process and client wait for each other.
        """


class Buffer(Protocol):
    """Items that wait for one reader. Its methods neither block nor lock."""

    def put(self, item: Any, /) -> None: ...
    def take(self) -> Any | None: ...
    def __len__(self) -> int: ...


class Mailbox(Protocol):
    """The events of one subscriber: a `Buffer` whose reader can wait."""

    def put(self, item: Any) -> None:
        """Add an item; never waits for the subscriber."""

    async def get(self, timeout: float | None) -> Any | None:
        """The oldest item; None if none came within `timeout` seconds. With `timeout=None`, wait without a limit."""


class Bell(Protocol):
    """Wakes one waiting thread or task."""

    def ring(self) -> None:
        """Wake the waiter. From any thread."""

    async def wait(self, timeout: float) -> bool:
        """Wait until it rings. True if it rang since the last call, or within `timeout` seconds."""


class Runtime(Clock, Protocol):
    """The way in which the sync or the async API waits, and works in the background."""

    def mailbox(self, buffer: Buffer) -> Mailbox:
        """A new mailbox around this buffer."""

    def bell(self) -> Bell:
        """A new bell. With asyncio it belongs to the running event loop."""

    def spawn(
        self, main: Callable[[], Coroutine[Any, Any, None]], name: str, /, *, joined: bool = False
    ) -> Callable[[], object]:
        """See `Clock.spawn`. With `joined`, `join` waits for its end, which comes soon after the client is closed."""

    async def wind_up(self) -> None:
        """Await the calls of `at_close`, because the client is about to be closed."""

    async def join(self, timeout: float) -> None:
        """After the client was closed: wake all that sleep, and wait for what then ends, at most `timeout` seconds."""


def closed() -> ServerUnreachableError:
    """The error for every call that waits when the client is closed."""
    return ServerUnreachableError("the client was closed")
