"""A client that hears of a turn as others do: over an event stream of the turn's own, all of which it parses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from opencode_sessions import Timeouts, aio
from opencode_sessions.protocol.events import Connected, Event
from opencode_sessions.protocol.sse import SSEDecoder
from opencode_sessions.runtime.ports import Mailbox
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.wire.backlog import Backlog
from opencode_sessions.wire.v1.frames import parse_event


class TextbookClient(aio.Client):
    """`aio.Client`, but for the event stream."""

    def __init__(self, url: str, *, timeouts: Timeouts) -> None:
        super().__init__(url, timeouts=timeouts)
        self._bare = httpx2.AsyncClient(
            base_url=url, timeout=None, limits=httpx2.Limits(max_connections=None), trust_env=False
        )

    async def subscribe(self, session_id: str | None = None) -> Any:
        stream = _OwnStream(self._bare, session_id)
        await stream.opened()
        return stream

    async def close(self) -> None:
        await self._bare.aclose()
        await super().close()


class _OwnStream:
    """The server tells everybody everything: what is of this session is known once it is parsed."""

    def __init__(self, http: httpx2.AsyncClient, session_id: str | None) -> None:
        self._http = http
        self._session_id = session_id
        self._mailbox: Mailbox = Tasks().mailbox(Backlog())
        self._reading = asyncio.create_task(self._read())

    async def opened(self) -> None:
        while not isinstance(await self._mailbox.get(None), Connected):
            pass

    async def next(self, timeout: float | None = None) -> Event | None:
        item = await self._mailbox.get(timeout)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self._reading.cancel()

    async def _read(self) -> None:
        decoder = SSEDecoder()
        async with self._http.stream("GET", "/global/event") as response:
            async for chunk in response.aiter_bytes():
                for framed in decoder.feed(chunk):
                    frame = json.loads(framed.data)
                    payload = frame["payload"]
                    if payload["type"] == "server.connected" or (
                        payload["type"] != "sync"
                        and payload["properties"].get("sessionID") == self._session_id
                    ):
                        self._mailbox.put(parse_event(frame))
