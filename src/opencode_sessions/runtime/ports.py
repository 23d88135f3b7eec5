"""What a clock, and the sync and the async API, are to everything that waits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from opencode_sessions.errors import ServerUnreachableError

__all__ = ["LONGEST_TURN", "Bell", "Buffer", "Clock", "Mailbox", "Runtime", "closed"]

T = TypeVar("T")

LONGEST_TURN = 1.0
"""Seconds for which the callers of `in_turn` wait for the one that came first."""


class Clock(Protocol):
    """Time, waiting, and having something done meanwhile."""

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward."""

    async def sleep(self, seconds: float, /) -> None:
        """Wait.

        Raises:
            ServerUnreachableError: The client was closed before or meanwhile, so that nobody tries on and on.
        """

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str, /) -> Callable[[], object]:
        """Run `main` beside the caller, as a daemon, in a thread or a task of this name.

        Returns:
            What cancels it, as far as that can be: a thread goes on.
        """

    def at_close(self, call: Callable[[], Coroutine[Any, Any, None]], /) -> Callable[[], None]:
        """Have `call` awaited when the client is about to be closed here, and not in a forked child.

        Returns:
            What takes that back.
        """

    async def call(self, function: Callable[[], T], /) -> T:
        """What an ordinary function of the host's returns, which may block: only its caller waits."""

    def in_turn(self, key: str, /) -> AbstractAsyncContextManager[None]:
        """A block that callers with the same key enter after the one that came first has left it.

        They wait for a second at most, and then enter all at once: it saves work, and is no lock. Only callers of the
        same process and client wait for each other.
        """


class Buffer(Protocol):
    """What waits for one reader. It waits for nothing, and locks nothing."""

    def put(self, item: Any, /) -> None: ...
    def take(self) -> Any | None: ...
    def __len__(self) -> int: ...


class Mailbox(Protocol):
    """Where one subscriber's events wait for it: a `Buffer`, and a way to be woken."""

    def put(self, item: Any) -> None:
        """Add one; never waits for the subscriber."""

    async def get(self, timeout: float | None) -> Any | None:
        """The oldest; None if none came within `timeout` seconds (None: however long)."""


class Bell(Protocol):
    """Wakes the one that waits for it."""

    def ring(self) -> None:
        """There is something to do. From any thread."""

    async def wait(self, timeout: float) -> bool:
        """Was it rung since the last call, or within `timeout` seconds?"""


class Runtime(Clock, Protocol):
    """How the sync or the async API waits, and runs something beside its caller."""

    def mailbox(self, buffer: Buffer) -> Mailbox:
        """A new one, around this buffer."""

    def bell(self) -> Bell:
        """A new one; of the event loop that runs, if it is asyncio's."""

    def spawn(
        self, main: Callable[[], Coroutine[Any, Any, None]], name: str, /, *, joined: bool = False
    ) -> Callable[[], object]:
        """See `Clock.spawn`. If it is `joined`, `join` waits for it: it ends soon when the client is closed."""

    async def wind_up(self) -> None:
        """The client is about to be closed: await what was given to `at_close`."""

    async def join(self, timeout: float) -> None:
        """The client is closed: tell who sleeps, and wait for what ends then, all in all at most `timeout` seconds."""


def closed() -> ServerUnreachableError:
    """What whoever waits is told when the client was closed."""
    return ServerUnreachableError("the client was closed")
