"""A time limit for a whole request. httpx2 limits only each read, so a slow server could hold a caller without end.

Every read and write of a connection gets its timeout from here. A connection does not know its request, so the clock is
a context variable of the thread or task that sends the request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx2

__all__ = ["MADE", "Clock", "clocked", "started", "watched"]

MADE = frozenset(
    f"connection.{step}.complete" for step in ("connect_tcp", "connect_unix_socket", "start_tls")
)
"""The trace events of httpx2 after it has made a connection."""

_SENDING = "http11.send_request_headers.started"
_PIECE = 64 * 1024


class Clock:
    """The time of one request, from its first byte on. The wait for a connection does not count.

    Attributes:
        seconds: The limit; it may be changed during the request.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began: float | None = None

    def start(self) -> None:
        """Start the clock, because the request is about to be written."""
        self._began = time.monotonic()

    def shorten(self, timeout: float | None) -> float | None:
        """The seconds for a read or write that would have `timeout`.

        Raises:
            ReadTimeout: There is no time left.
        """
        if self._began is None:
            return timeout
        left = self._began + self.seconds - time.monotonic()
        if left <= 0:
            raise httpx2.ReadTimeout("the time for the whole request is over")
        return left if timeout is None else min(timeout, left)


_current: ContextVar[Clock | None] = ContextVar("opencode_sessions_clock", default=None)


@contextmanager
def clocked(seconds: float) -> Iterator[Clock]:
    """A clock for the request that this thread or task sends within the block."""
    clock = Clock(seconds)
    token = _current.set(clock)
    try:
        yield clock
    finally:
        _current.reset(token)


def started(event: str) -> None:
    """Start the clock when httpx2 traces that a request is being sent."""
    clock = _current.get()
    if event == _SENDING and clock is not None:
        clock.start()


def watched(info: Mapping[str, Any], *, blocking: bool) -> Any:
    """Make a connection of httpx2 obey the clocks."""
    stream = info["return_value"]
    read, write = stream.read, stream.write

    def write_by_pieces(data: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(data), _PIECE):
            write(data[start : start + _PIECE], _shorten(timeout))

    stream.read = lambda size, timeout=None: read(size, _shorten(timeout))
    # A blocking write allows its time-out for each piece that the socket takes; a suspending one, for all of them.
    if blocking:
        stream.write = write_by_pieces
    return stream


def _shorten(timeout: float | None) -> float | None:
    clock = _current.get()
    return timeout if clock is None else clock.shorten(timeout)
