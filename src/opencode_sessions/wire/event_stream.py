"""The shared event stream: one connection for each client, read once, handed out by session id.

It is opened when somebody first subscribes and kept until the client is closed. When it breaks it is
opened again, with backoff, and every subscriber is told that there was a gap: the server replays nothing,
so whoever must not miss anything reads the state again. A subscriber that is too slow for its events is told
the same (see `backlog`); the reader waits for nobody.

A stream of the V1 line that says that it is connected does not listen yet: what happens in the next milliseconds is
lost (seen on 1.18.33). So it counts as standing only when an event has come through, and we make the server send one.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from opencode_sessions.errors import (
    ConnectionLostError,
    CredentialsRefusedError,
    NotOpencodeError,
    OpencodeError,
    ServerUnreachableError,
    StreamSilentError,
)
from opencode_sessions.protocol.events import Connected, Event, Gap, Heartbeat, Unknown
from opencode_sessions.protocol.sse import SSEDecoder
from opencode_sessions.runtime.forks import renew_in_children
from opencode_sessions.runtime.ports import Mailbox, Runtime
from opencode_sessions.wire.backlog import Backlog
from opencode_sessions.wire.dialect import PROBE, Hears, Reader
from opencode_sessions.wire.event_router import EventRouter

__all__ = ["EventStream", "Subscription"]

_log = logging.getLogger("opencode_sessions.stream")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_PATIENCE = 30.0
_HOPELESS = (CredentialsRefusedError, NotOpencodeError)
_TRIES = 3
"""Connections that may break one after the other before who waits for a first one hears of it."""

_PROBES = (0.02, 0.04, 0.08, 0.16, 0.3, 0.6, 1.2, 2.4)
"""Seconds to wait for each probe before the next."""

Probe = Callable[[], Coroutine[Any, Any, bool]]
"""Makes the server say something; False if a stream of this server stands as soon as it is connected."""

Connect = Callable[[], AbstractAsyncContextManager[tuple[AsyncIterator[bytes], Reader]]]
"""Opens the stream; with what reads it."""


class EventStream:
    """One connection to the server's events, and those who listen to it."""

    def __init__(self, connect: Connect, probe: Probe, runtime: Runtime) -> None:
        self._connect = connect
        self._probe = probe
        self._runtime = runtime
        self._stopped = False
        self._renew()
        renew_in_children(self, EventStream._renew)

    def _renew(self) -> None:
        """As new: also for a forked child, in which no thread reads and nobody listens."""
        self._lock = threading.Lock()
        self._router = EventRouter()
        self._waiting: set[Mailbox] = set()
        self._running = False
        self._connection = 0
        self._greeting: Event = Connected()
        self._standing = False

    async def subscribe(self, session_id: str | None) -> Subscription:
        """Listen to a session and its children, or to all; returns when the stream stands.

        Raises:
            WireError: It cannot be opened.
        """
        mailbox = self._runtime.mailbox(Backlog())
        subscription = Subscription(self, session_id, mailbox)
        with self._lock:
            if self._stopped:
                raise ServerUnreachableError("the client was closed")
            if not self._running:
                self._runtime.spawn(self._follow, "opencode-sessions events", joined=True)
                self._running = True
            self._router.add(session_id, mailbox)
            standing = self._standing
            if not standing:
                self._waiting.add(mailbox)
        if not standing:
            await self._until_connected(subscription, mailbox)
        return subscription

    async def _until_connected(self, subscription: Subscription, mailbox: Mailbox) -> None:
        deadline = self._runtime.monotonic() + _PATIENCE
        event: Event | None = None
        try:
            while not isinstance(event, Connected | Gap):
                event = await subscription.next(max(deadline - self._runtime.monotonic(), 0))
                if event is None:
                    raise ServerUnreachableError(  # noqa: TRY301 - who waited is cleared away below
                        f"the event stream did not open within {_PATIENCE:g} s: the server is overloaded or hangs. "
                        "Look at its log, and restart it if this goes on"
                    )
        except BaseException:
            subscription.close()
            raise
        finally:
            with self._lock:
                self._waiting.discard(mailbox)

    def discard(self, session_id: str | None, mailbox: Mailbox) -> None:
        """Stop handing events to a mailbox."""
        with self._lock:
            self._router.discard(session_id, mailbox)

    def stop(self) -> None:
        """No more reconnecting; whoever still listens is told."""
        with self._lock:
            self._stopped = True
            self._router.broadcast(ConnectionLostError("the client was closed"))

    async def join(self) -> None:
        """Wait until nothing reads any more."""
        await self._runtime.join(timeout=2.0)

    async def _follow(self) -> None:
        """Read until stopped, reconnecting; runs beside the callers."""
        pause, broken = 0.0, 0
        while True:
            try:
                await self._runtime.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret
                async with self._connect() as (chunks, read):
                    async for event in _decode(chunks, read, self._router.hears):
                        if isinstance(event, Connected):
                            pause, broken = 0.0, 0
                            self._connection += 1
                            self._runtime.spawn(self._prove, "opencode-sessions probe", joined=True)
                        elif not isinstance(event, Heartbeat):
                            self._stand()
                            if not _is_probe(event):
                                self._router.deliver(event)
                failure: Exception = ConnectionLostError("the server closed the event stream")
            except OpencodeError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - subscribers hear of it; it must not end the stream silently
                failure = error
            broken += 1
            if self._fell(failure, broken):
                return
            self._greeting = Gap(reason=str(failure))
            pause = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)

    async def _prove(self) -> None:
        """Make the server say something until it is heard; runs beside the reader of this connection."""
        connection = self._connection
        for pause in _PROBES:
            try:
                if not await self._probe():
                    break
            except OpencodeError as error:  # it is the reader's to say what is wrong with the connection
                _log.debug("a probe of the event stream failed: %s", error)
            try:
                await self._runtime.sleep(pause)
            except ServerUnreachableError:  # the client was closed
                return
            if self._standing or self._connection != connection:
                return
        else:
            _log.warning("the event stream says nothing when it is probed; taking it to stand all the same")
        self._stand()

    def _stand(self) -> None:
        with self._lock:
            if not self._standing:
                self._standing = True
                self._router.broadcast(self._greeting)

    def _fell(self, failure: Exception, broken: int) -> bool:
        """The connection is gone, as the last `broken` ones are. Is it the end, too?"""
        with self._lock:
            stood, self._standing = self._standing, False
            self._connection += 1
            over = self._stopped or not len(self._router) or isinstance(failure, _HOPELESS)
            if over:
                self._running = False
            if not self._stopped:
                level = logging.WARNING if stood or not isinstance(failure, OpencodeError) else logging.DEBUG
                _log.log(level, "the event stream broke: %s", failure)
                # Who had a stream waits for the next one; who waits for a first one hears why there is none.
                for mailbox in () if _passes(failure, broken) else self._waiting:
                    mailbox.put(failure)
                if over:
                    self._router.broadcast(failure)
            return over


class Subscription:
    """The events of one session (or of all) from the moment of subscribing. Close it, or use `with`."""

    def __init__(self, stream: EventStream, session_id: str | None, mailbox: Mailbox) -> None:
        self._stream = stream
        self._mailbox = mailbox
        self.session_id = session_id

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event, in order; None if none came within `timeout` seconds.

        A slow reader gets the text of a part in larger pieces, and only the latest state of a part. A reader that is
        far behind gets one `Gap` instead of all that waited. It must then read the state again: messages, status, and
        pending asks.

        Raises:
            WireError: The stream has ended and will not be opened again.
        """
        item = await self._mailbox.get(timeout)
        if isinstance(item, Exception):
            raise item
        return item

    def interrupt(self, error: Exception) -> None:
        """Make `next` raise an error after the events that wait. May be called from any thread or task."""
        self._mailbox.put(error)

    def close(self) -> None:
        """Receive no more events."""
        self._stream.discard(self.session_id, self._mailbox)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = await self.next()
            if event is not None:
                yield event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _passes(failure: Exception, broken: int) -> bool:
    """Is the next connection likely to fare better? A server that is still starting can leave the first one hanging."""
    return isinstance(failure, StreamSilentError) or (
        isinstance(failure, ConnectionLostError) and broken < _TRIES
    )


def _is_probe(event: Event) -> bool:
    return isinstance(event, Unknown) and event.properties.get("command") == PROBE


async def _decode(chunks: AsyncIterator[bytes], read: Reader, hears: Hears) -> AsyncIterator[Event]:
    decoder = SSEDecoder()
    async for chunk in chunks:
        for framed in decoder.feed(chunk):
            for event in read(framed.data, hears):
                yield event
