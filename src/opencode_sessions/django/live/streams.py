"""Streams of server-sent events: one that suspends, for ASGI, and one that blocks its thread, for WSGI."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import suppress

from asgiref.sync import sync_to_async

from opencode_sessions.django.live.channel import Watch
from opencode_sessions.django.live.drawing import Row, Surroundings
from opencode_sessions.django.live.hub import hub
from opencode_sessions.django.live.looking import Target, give_back_connections
from opencode_sessions.runtime.shutdown import install_handlers

__all__ = ["HEARTBEAT", "RETRY", "astream", "stream"]

HEARTBEAT = 15.0
"""Seconds between two beats of a quiet stream: they keep proxies from closing it, and notice browsers that are gone."""

RETRY = b"retry: 1000\n\n"
"""After so many milliseconds a browser connects again."""

_BEAT = b": still here\nevent: beat\ndata: {}\n\n"
"""An event, as browsers tell a script nothing of comments."""

_AGAIN = b"event: again\ndata: {}\n\n"
"""Connect again at once: the stream ends here, and nothing is wrong."""


async def astream(
    target: Target, row: Row, around: Surroundings, *, has: int | None, who: Hashable, seconds: float
) -> AsyncIterator[bytes]:
    """The events of a turn until its end, or for so many seconds at most.

    Args:
        target: The message's row.
        row: As it was just read.
        around: What the row does not tell.
        has: The revision that the browser shows already.
        who: The key of the user who watches, if one is logged in.
        seconds: Then the browser connects again, is asked for its rights again, and goes on where it was.
    """
    install_handlers()
    # Now that the middleware is through with them too; in the thread that it ran in.
    await sync_to_async(give_back_connections)()
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed, and this stream with it
            loop.call_soon_threadsafe(news.set)

    watch = hub.watch(target, row, around, has=has, wake=wake, who=who, seconds=seconds)
    try:
        yield RETRY
        wait = HEARTBEAT
        while wait:
            news.clear()
            said, wait = _said(watch)
            if said:
                yield said
            try:
                # Not wait_for, which swallows a cancellation now and then (Python 3.11).
                async with asyncio.timeout(wait):
                    await news.wait()
            except TimeoutError:
                if wait == HEARTBEAT:
                    yield _BEAT
    finally:
        hub.leave(watch)


def stream(
    target: Target, row: Row, around: Surroundings, *, has: int | None, who: Hashable, seconds: float
) -> Iterator[bytes]:
    """The same, blocking."""
    install_handlers()
    give_back_connections()
    news = threading.Event()
    watch = hub.watch(target, row, around, has=has, wake=news.set, who=who, seconds=seconds)
    try:
        yield RETRY
        wait = HEARTBEAT
        while wait:
            news.clear()
            said, wait = _said(watch)
            if said:
                yield said
            if not news.wait(wait) and wait == HEARTBEAT:
                yield _BEAT
    finally:
        hub.leave(watch)


def _said(watch: Watch) -> tuple[bytes, float]:
    """What is to be sent now, and for how many seconds more is to be waited for then: 0 at the end."""
    pause = watch.pause  # looked at first: what is held back by the next line is sent after it
    frames, over = hub.news(watch)
    left = watch.until - time.monotonic()
    if over or left <= 0:
        return b"".join(frames if over else [*frames, _AGAIN]), 0.0
    return b"".join(frames), min(left, pause or HEARTBEAT)
