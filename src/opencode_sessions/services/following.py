"""Following a turn to its end: the events tell what happens; the stored messages tell whether it is over.

An idle can be missing, early or double, and says nothing of success. So whatever hints at the end (idle, an
error, a gap, a quiet while) only makes us look: at the exchange, and, if that is not final, at whether the
session is still busy.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from opencode_sessions.errors import (
    ConnectionLostError,
    RequestTimedOutError,
    ServerError,
    ServerUnreachableError,
    TurnTimeoutError,
)
from opencode_sessions.protocol.events import Event, Gap, SessionFailed, SessionIdle, SessionStatus
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.services.exchange import read_exchange
from opencode_sessions.services.observing import Contained
from opencode_sessions.services.ports import Clock, Events, ExchangeWire

__all__ = ["Deadlines", "Follower"]

_log = logging.getLogger("opencode_sessions.turn")

_SNAPSHOT_EVERY = 0.25
_SETTLE = (0.1, 0.2, 0.4, 0.8)
_LOOK_AGAIN = 1.0
_PASSING = (ServerUnreachableError, ConnectionLostError, RequestTimedOutError, ServerError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds after which a turn is given up.

    Attributes:
        start: Without a sign of an answer after the prompt.
        silence: Without an event of this session.
        unreachable: Since the state could last be read, while every look fails.
        total: For the whole turn.
        look: Without an event before the state is read again; no deadline, but what finds a lost idle.
    """

    start: float = 120.0
    silence: float = 600.0
    unreachable: float = 60.0
    total: float = 3600.0
    look: float = 5.0


class Follower:
    """Follows one prompt from its sending to its end."""

    def __init__(
        self,
        wire: ExchangeWire,
        clock: Clock,
        reply: Reply,
        *,
        key: str,
        deadlines: Deadlines,
        observer: Contained,
        store: Callable[[Reply], Awaitable[None]],
    ) -> None:
        self._wire = wire
        self._clock = clock
        self._key = key
        self._deadlines = deadlines
        self._observer = observer
        self._store = store
        self.reply = reply
        self._sent = self._heard = self._looked = self._stored = clock.monotonic()
        self._unstored = False
        self._unreadable_since: float | None = None
        self.first_token: float | None = None

    async def follow(self, events: Events) -> Reply:
        """The reply as the server has stored it, once the turn is over.

        Raises:
            TurnTimeoutError: A deadline passed.
            WireError: The state could not be read for too long.
        """
        while True:
            event = await events.next(self._patience())
            over = await self._take(event)
            if over is not None:
                return over
            await self._keep()
            self._check_deadlines()

    def _patience(self) -> float:
        """Until the next thing is due: a look, or a snapshot."""
        due = self._next_look()
        if self._unstored:
            due = min(due, self._stored + _SNAPSHOT_EVERY)
        return max(due - self._clock.monotonic(), 0.0)

    def _next_look(self) -> float:
        if self._unreadable_since is not None:
            return self._looked + _LOOK_AGAIN
        return max(self._heard, self._looked) + self._deadlines.look

    async def _take(self, event: Event | None) -> Reply | None:
        if event is None:
            return await self._look() if self._clock.monotonic() >= self._next_look() else None
        if isinstance(event, Gap):
            self._observer.tell(lambda observer: observer.gap(event.reason))
            return await self._look()
        self._heard = self._clock.monotonic()  # a sub-agent's events are signs of life, too
        if event.session_id != self.reply.session_id:
            return None
        self._tell(self.reply.apply(event))
        if isinstance(event, SessionStatus):
            self._observer.tell(lambda observer: observer.status(event))
        return await self._look() if isinstance(event, SessionIdle | SessionFailed) else None

    def _tell(self, changes: list[Change]) -> None:
        if changes:
            self._unstored = True
        if self.first_token is None and self.reply.begun:
            self.first_token = self._clock.monotonic() - self._sent
        for change in changes:
            self._observer.tell(lambda observer, change=change: observer.changed(change, self.reply))  # type: ignore[misc]  # mypy cannot infer a default's type

    async def _look(self) -> Reply | None:
        """Read the state; the stored reply if the turn is over. A passing failure is for the next look."""
        try:
            for pause in (*_SETTLE, None):
                stored = await self._read()
                busy = not (stored.final and stored.error is None) and await self._busy()
                self._unreadable_since = None
                if stored.final and not busy:
                    return stored
                if busy or not self._may_be_over(stored):
                    return None
                if pause is None:
                    stored.error = stored.error or self.reply.error
                    return stored
                # An idle can come before the last write: give it a moment.
                await self._clock.sleep(pause)
        except _PASSING as error:
            _log.debug("the state of %s cannot be read now: %s", self._key, error)
            now = self._clock.monotonic()
            self._unreadable_since = self._unreadable_since or now
            if now - self._unreadable_since >= self._deadlines.unreachable:
                raise
        finally:
            self._looked = self._clock.monotonic()
        return None

    async def _read(self) -> Reply:
        messages = await read_exchange(self._wire, self.reply.session_id, self.reply.prompt_id)
        self._tell(self.reply.absorb(messages))
        return Reply.of(self.reply.session_id, self.reply.prompt_id, messages)

    async def _busy(self) -> bool:
        return await self._wire.busy(self.reply.session_id)

    def _may_be_over(self, stored: Reply) -> bool:
        """Not while nothing came at all: a session that was only just prompted is not busy yet either."""
        return stored.last is not None or self.reply.error is not None

    async def _keep(self) -> None:
        """Store what has changed, at most four times a second."""
        now = self._clock.monotonic()
        if self._unstored and now - self._stored >= _SNAPSHOT_EVERY:
            await self._store(self.reply)
            self._unstored = False
            self._stored = self._clock.monotonic()

    def _check_deadlines(self) -> None:
        now = self._clock.monotonic()
        limits = self._deadlines
        if now - self._sent >= limits.total:
            self._expire(f"did not end within {limits.total:g} s", limits.total)
        if now - self._heard >= limits.silence:
            self._expire(f"heard nothing of its session for {limits.silence:g} s", limits.silence)
        if not self.reply.messages and now - self._sent >= limits.start:
            self._expire(f"got no sign of an answer within {limits.start:g} s", limits.start)

    def _expire(self, what: str, seconds: float) -> NoReturn:
        raise TurnTimeoutError(f"the turn of {self._key} {what}", message_key=self._key, seconds=seconds)
