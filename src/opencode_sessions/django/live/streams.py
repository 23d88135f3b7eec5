"""Streams of server-sent events: one that suspends, for ASGI, and one that blocks its thread, for WSGI."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from asgiref.sync import sync_to_async
from django.db import models

from opencode_sessions.django.live.drawing import Surroundings
from opencode_sessions.django.live.hub import hub
from opencode_sessions.django.live.looking import give_back_connections

__all__ = ["HEARTBEAT", "RETRY", "astream", "stream"]

HEARTBEAT = 15.0
"""Seconds between two beats of a quiet stream: they keep proxies from closing it, and notice browsers that are gone."""

RETRY = b"retry: 1000\n\n"
"""After so many milliseconds a browser connects again."""

_BEAT = b": still here\nevent: beat\ndata: {}\n\n"
"""An event, as browsers tell a script nothing of comments."""

_AGAIN = b"event: again\ndata: {}\n\n"
"""Connect again at once: it ends here, and nothing is wrong."""


async def astream(message: models.Model, around: Surroundings, *, has: int | None) -> AsyncIterator[bytes]:
    """The events of a turn until its end.

    Args:
        message: As it was just read.
        around: What the row does not tell.
        has: The revision that the browser shows already.
    """
    # Now that the middleware is through with them too; in the thread that it ran in.
    await sync_to_async(give_back_connections)()
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed, and this stream with it
            loop.call_soon_threadsafe(news.set)

    watch = hub.watch(message, around, has=has, wake=wake)
    try:
        yield RETRY
        over = False
        while not over:
            news.clear()
            frames, over = hub.news(watch)
            if frames:
                yield b"".join(frames)
            if not over:
                try:
                    # Not wait_for, which swallows a cancellation now and then (Python 3.11).
                    async with asyncio.timeout(HEARTBEAT):
                        await news.wait()
                except TimeoutError:
                    yield _BEAT
    finally:
        hub.leave(watch)


def stream(
    message: models.Model, around: Surroundings, *, has: int | None, seconds: float
) -> Iterator[bytes]:
    """The same, for so many seconds at most: then the browser connects again, and goes on where it was."""
    give_back_connections()
    news = threading.Event()
    watch = hub.watch(message, around, has=has, wake=news.set)
    until = time.monotonic() + seconds
    try:
        yield RETRY
        while True:
            news.clear()
            frames, over = hub.news(watch)
            if frames:
                yield b"".join(frames)
            if over:
                return
            left = until - time.monotonic()
            if left <= 0:
                yield _AGAIN
                return
            if not news.wait(min(left, HEARTBEAT)) and left > HEARTBEAT:
                yield _BEAT
    finally:
        hub.leave(watch)
