"""Streams of a turn that is watched: one that suspends, for ASGI, and one that blocks its thread, for WSGI."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from opencode_sessions.live.channel import Viewer, WatchRequest
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.hub import LiveHub
from opencode_sessions.live.view import view_of_row
from opencode_sessions.runtime.ports import Bell
from opencode_sessions.runtime.stepping import iterate_sync
from opencode_sessions.runtime.tasks import TaskBell
from opencode_sessions.runtime.threads import ThreadBell
from opencode_sessions.texts import speaking

__all__ = ["HEARTBEAT", "astream", "ended", "stream"]

HEARTBEAT = 15.0
"""Seconds between two beats of a quiet stream: they keep proxies from closing it, and notice browsers that are gone."""

Opening = Callable[[], Awaitable[object]]


def astream(
    hub: LiveHub, request: WatchRequest, *, opening: Opening | None = None
) -> AsyncGenerator[bytes, None]:
    """What is sent of a turn until its end, or for as many seconds as the request has at most.

    Args:
        hub: The one of the process.
        request: What is watched.
        opening: Awaited when the stream begins, before anything is watched.

    Raises:
        RuntimeError: There can be no more threads.
    """
    return _stream(hub, request, TaskBell, opening)


def stream(hub: LiveHub, request: WatchRequest, *, opening: Opening | None = None) -> Iterator[bytes]:
    """The same, blocking; so does `opening`."""
    return iterate_sync(_stream(hub, request, ThreadBell, opening))


def ended(request: WatchRequest) -> list[bytes]:
    """All that there is to send of a turn whose row says how it ended."""
    encoder, row = request.encoder, request.row
    feed = Feed()
    with speaking(request.context.language):
        feed.take(view_of_row(row, None, request.context, frozenset([encoder])))
        has_all = request.has == row.revision and request.has
        said = b"" if has_all else feed.since(0, encoder, request.context)
        return [encoder.begin(request.context), said, encoder.end(request.context, feed.view, row.status)]


async def _stream(
    hub: LiveHub, request: WatchRequest, make_bell: Callable[[], Bell], opening: Opening | None
) -> AsyncGenerator[bytes, None]:
    if opening is not None:
        await opening()
    encoder, bell = request.encoder, make_bell()
    viewer = hub.watch(request, bell.ring)
    try:
        yield encoder.begin(request.context)
        wait = HEARTBEAT
        while wait:
            said, wait = _said(hub, viewer)
            if said:
                yield said
            if wait and not await bell.wait(wait) and wait == HEARTBEAT:
                yield encoder.heartbeat()
    finally:
        hub.leave(viewer)


def _said(hub: LiveHub, viewer: Viewer) -> tuple[bytes, float]:
    """What is to be sent now, and for how many seconds more is to be waited for then: 0 at the end."""
    pause = viewer.pause  # looked at first: what is held back by the next line is sent after it
    said, over = hub.news(viewer)
    left = viewer.until - time.monotonic()
    if over or left <= 0:
        return said if over else said + viewer.encoder.again(viewer.context), 0.0
    return said, min(left, pause or HEARTBEAT, HEARTBEAT)
