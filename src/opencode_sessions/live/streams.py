"""The streams of a watched turn: one that suspends, for ASGI, and one that blocks its thread, for WSGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from opencode_sessions.live.channel import Viewer
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.hub import LiveHub
from opencode_sessions.live.view import view_of_row
from opencode_sessions.live.watch_request import Made, WatchRequest
from opencode_sessions.runtime.ports import Bell
from opencode_sessions.runtime.stepping import iterate_sync
from opencode_sessions.runtime.tasks import TaskBell
from opencode_sessions.runtime.threads import ThreadBell
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.texts import speaking

__all__ = ["COLLECTED", "HEARTBEAT", "astream", "ended", "stream"]

HEARTBEAT = 15.0
"""Seconds between heartbeats of a quiet stream. They keep proxies from closing it, and reveal closed browsers."""

COLLECTED = 15.0
"""Seconds that a stream waits for the files of a turn that has ended. If it takes longer, a page that is loaded again
has them."""

_LOOK = 0.5
_ENDS = tuple(status.value for status in TurnStatus if status.terminal)

Ended = Callable[[WatchRequest], Awaitable[list[bytes]]]
Opening = Callable[[], Awaitable[object]]


def astream(
    hub: LiveHub, request: WatchRequest, *, opening: Opening | None = None
) -> AsyncGenerator[bytes, None]:
    """The bytes of a turn until its end, or until the request's time is over.

    Args:
        hub: The hub of the process.
        request: The turn and the protocol.
        opening: Awaited at the begin of the stream, before the turn is watched.

    Raises:
        RuntimeError: No more threads can be started.
    """

    async def render(request: WatchRequest) -> list[bytes]:
        # In a thread: a long turn would stop the event loop for seconds.
        return await asyncio.to_thread(hub.render, request.key, partial(ended, request))

    return _stream(hub, request, TaskBell, render, opening)


def stream(hub: LiveHub, request: WatchRequest, *, opening: Opening | None = None) -> Iterator[bytes]:
    """See `astream`; this one blocks, and so does `opening`."""

    async def render(request: WatchRequest) -> list[bytes]:
        return ended(request)

    return iterate_sync(_stream(hub, request, ThreadBell, render, opening))


def ended(request: WatchRequest) -> list[bytes]:
    """The whole stream of a turn that has ended."""
    encoder, row = request.encoder, request.row
    feed = Feed()
    with speaking(request.context.language):
        feed.take(view_of_row(row, None, request.context, frozenset([encoder])))
        has_all = request.has == row.revision and request.has
        said = b"" if has_all else feed.since(0, encoder, request.context)
        return [encoder.begin(request.context), said, encoder.end(request.context, feed.view, row.status)]


async def _stream(
    hub: LiveHub,
    request: WatchRequest,
    make_bell: Callable[[], Bell],
    render: Ended,
    opening: Opening | None,
) -> AsyncGenerator[bytes, None]:
    if opening is not None:
        await opening()
    encoder, bell = request.encoder, make_bell()
    if TurnStatus(request.row.status).terminal:
        async for said in _ended(request, bell, render):
            yield said
        return
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
        async for last in _last(hub, viewer, request, bell):
            yield last
    finally:
        hub.leave(viewer)


async def _last(
    hub: LiveHub, viewer: Viewer, request: WatchRequest, bell: Bell
) -> AsyncGenerator[bytes, None]:
    """The end of a turn that was watched, if it waits for the files that the turn has made."""
    if not viewer.withheld:
        return
    if viewer.status in _ENDS:
        async for beat, made in _made(request, bell):
            yield beat
            viewer.context = replace(viewer.context, made=made)
    yield hub.end_of(viewer)


async def _ended(request: WatchRequest, bell: Bell, render: Ended) -> AsyncGenerator[bytes, None]:
    """A turn whose row says how it ended, with the files that it has made."""
    begin, said, end = await render(request)
    yield begin
    yield said
    async for beat, made in _made(request, bell):
        yield beat
        if made:
            end = (await render(replace(request, context=replace(request.context, made=made))))[-1]
    yield end


async def _made(
    request: WatchRequest, bell: Bell
) -> AsyncGenerator[tuple[bytes, Sequence[Mapping[str, Any]]], None]:
    """The files that a turn has made, with what is to be sent first; none while they are being collected."""
    if request.made is None:
        return
    until = time.monotonic() + COLLECTED
    while (found := await _look(request.made, request.context.language)) is None and time.monotonic() < until:
        yield request.encoder.heartbeat(), ()
        await bell.wait(_LOOK)
    yield b"", found or ()


async def _look(made: Made, language: str) -> Sequence[Mapping[str, Any]] | None:
    with speaking(language):
        return await made()


def _said(hub: LiveHub, viewer: Viewer) -> tuple[bytes, float]:
    """What is to be sent now, and for how many seconds more is to be waited for then: 0 at the end."""
    pause = viewer.pause  # looked at first: what is held back by the next line is sent after it
    said, over = hub.news(viewer)
    left = viewer.until - time.monotonic()
    if over or left <= 0:
        return said if over else said + viewer.encoder.again(viewer.context), 0.0
    return said, min(left, pause or HEARTBEAT, HEARTBEAT)
