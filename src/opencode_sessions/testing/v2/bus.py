"""Where events go: the durable ones into the log and what follows from it, and all of them to the subscribers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from opencode_sessions.testing.v2.database import Database
from opencode_sessions.testing.v2.ids import new_id, now
from opencode_sessions.testing.v2.projection import project

__all__ = ["Bus", "frame"]

Json = dict[str, Any]

_SECOND_VERSION = frozenset(
    {
        "session.deleted",
        "session.forked",
        "session.instructions.updated",
        "session.tool.success",
        "session.tool.failed",
    }
)
# They are published outside of any directory's services, so they do not name one.
_WITHOUT_LOCATION = frozenset(
    {
        "session.execution.started",
        "session.execution.succeeded",
        "session.execution.failed",
        "session.execution.interrupted",
        "session.inbox.cancelled",
        "session.inbox.delivery.changed",
        "session.usage.updated",
        "session.deleted",
        "project.updated",
    }
)
_HEARTBEAT = b": heartbeat\n\n"


def frame(event: Json) -> bytes:
    """An event as server-sent events write it."""
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


class OverflowedError(ConnectionError):
    """A subscriber did not read fast enough; its connection ends."""


class Bus:
    """Publishes events.

    Args:
        database: Where durable events and their consequences are stored.
        heartbeat: Seconds between two heartbeats of a stream.
        capacity: How many events may wait for a subscriber before its connection ends.
    """

    def __init__(self, database: Database, *, heartbeat: float = 15.0, capacity: int = 4096) -> None:
        self._database = database
        self._heartbeat = heartbeat
        self._capacity = capacity
        self._subscribers: set[asyncio.Queue[Json | None]] = set()

    def log(
        self,
        kind: str,
        data: Json,
        *,
        metadata: Json | None = None,
        and_then: Callable[[], None] | None = None,
        location: bool = True,
    ) -> Json:
        """Publish a durable event of the session that `data` names.

        Args:
            kind: The event's type.
            data: What it says; `sessionID` is required.
            metadata: What it says of itself.
            and_then: More to write in the transaction that stores the event.
            location: Whether the event names the session's directory, if events of this type do.

        Returns:
            The event, as it was stored and sent.
        """
        session_id = data["sessionID"]
        event: Json = {"id": new_id("evt"), "created": now()}
        if metadata:
            event["metadata"] = metadata
        event["type"] = kind
        with self._database.transaction():
            place = data.get("location") or (self._database.session(session_id) or {}).get("location")
            if location and place and kind not in _WITHOUT_LOCATION:
                event["location"] = place
            event["data"] = data
            sequence = self._database.next_sequence(session_id)
            version = 2 if kind in _SECOND_VERSION else 1
            event["durable"] = {"aggregateID": session_id, "seq": sequence, "version": version}
            self._database.append_event(session_id, sequence, event)
            project(self._database, event)
            if and_then:
                and_then()
        self._send(event)
        return event

    def tell(self, kind: str, data: Json, *, directory: str | None = None) -> None:
        """Publish an event that is not stored: whoever does not listen now never hears of it."""
        event: Json = {"id": new_id("evt"), "created": now(), "type": kind}
        if directory is not None and kind not in _WITHOUT_LOCATION:
            event["location"] = {"directory": directory}
        self._send({**event, "data": data})

    def _send(self, event: Json) -> None:
        for queue in list(self._subscribers):
            if queue.qsize() >= self._capacity:
                self._subscribers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def subscribe(self) -> asyncio.Queue[Json | None]:
        """A queue of all events from now on; None in it says that events were lost."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Json | None]) -> None:
        """Stop filling a queue."""
        self._subscribers.discard(queue)

    async def stream(self) -> AsyncIterator[bytes]:
        """All events as frames, `server.connected` first, with heartbeats.

        Raises:
            OverflowedError: The reader fell behind.
        """
        # Subscribed before the reader knows that it is connected, so nothing after that is missed.
        queue = self.subscribe()
        try:
            yield frame({"id": new_id("evt"), "type": "server.connected", "data": {}})
            async for event in self._items(queue):
                yield frame(event) if event else _HEARTBEAT
        finally:
            self.unsubscribe(queue)

    async def session_log(self, session_id: str, *, after: int, follow: bool) -> AsyncIterator[bytes]:
        """The log of a session as frames, a marker at its end, and then what is added to it if that is asked for."""
        queue = self.subscribe()
        try:
            events = self._database.events(session_id, after=after)
            for event in events:
                yield frame(event)
            last = events[-1]["durable"]["seq"] if events else self._database.next_sequence(session_id) - 1
            synced: Json = {"type": "log.synced", "aggregateID": session_id}
            yield frame({**synced, "seq": last} if last >= 0 else synced)
            if not follow:
                return
            async for later in self._items(queue):
                if later is None:
                    yield _HEARTBEAT
                elif (
                    later.get("durable", {}).get("aggregateID") == session_id
                    and later["durable"]["seq"] > last
                ):
                    yield frame(later)
        finally:
            self.unsubscribe(queue)

    async def _items(self, queue: asyncio.Queue[Json | None]) -> AsyncIterator[Json | None]:
        """What comes into the queue; None where a heartbeat is due."""
        while True:
            try:
                async with asyncio.timeout(self._heartbeat):
                    event = await queue.get()
            except TimeoutError:
                yield None
                continue
            if event is None:
                raise OverflowedError(f"{self._capacity} events waited for a subscriber")
            yield event
