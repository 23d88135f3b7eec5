"""Following a turn: the events show the progress, and the stored messages show whether the turn has ended.

An `idle` event can be missing, early or double, and says nothing about success. So each sign of an end (an idle, an
error, a gap, a silence) only causes a look: at the exchange, and at whether the session is busy.

| the exchange is … | the session is … | so the turn |
|---|---|---|
| final | not busy, or busy with a newer prompt | has ended |
| final | busy | goes on: the server compacts the conversation, and goes on |
| not final | busy | goes on |
| not final | not busy | has stalled: the server died during the turn, or the prompt never arrived |
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from opencode_sessions.errors import (
    ConnectionLostError,
    RequestTimedOutError,
    ServerError,
    ServerUnreachableError,
)
from opencode_sessions.protocol.events import (
    Event,
    Gap,
    MessageChanged,
    PermissionAsked,
    QuestionAsked,
    SessionFailed,
    SessionIdle,
    SessionStatus,
)
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.protocol.values import Message
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.turns.deadlines import Deadlines, DeadlineTimer
from opencode_sessions.turns.events import EventsMissed, FirstToken, ReplyChanged, StatusChanged
from opencode_sessions.turns.exchange import is_newest, is_stored, read_exchange
from opencode_sessions.turns.observers import Listeners
from opencode_sessions.turns.parking import Parking
from opencode_sessions.turns.pending_asks import PendingAsks
from opencode_sessions.turns.ports import Events, ExchangeWire
from opencode_sessions.turns.releasing import RowWrittenError

__all__ = ["PASSING", "EventFollower", "Over"]

_log = logging.getLogger("opencode_sessions.turn")

Store = Callable[[bool], Awaitable[bool]]

_SNAPSHOT_EVERY = 0.25
_FOR_MORE = 0.1
_STORE_AGAIN = 1.0
_SETTLE = (0.1, 0.2, 0.4, 0.8)
_LOOK_AGAIN = 1.0

PASSING = (ServerUnreachableError, ConnectionLostError, RequestTimedOutError, ServerError)
"""Errors of a server that may be away for a moment: the next look may succeed."""


@dataclass(frozen=True, slots=True)
class Over:
    """The end of the following. The reply is as the server stored it.

    Attributes:
        stalled: The exchange is not final, and the session is not busy.
    """

    stalled: bool = False


class EventFollower:
    """Follows one prompt to its end.

    Args:
        wire: The server.
        clock: The clock of every wait.
        reply: The answer so far, which grows.
        asking: The asks of the turn.
        deadlines: The turn's deadlines.
        watch: The timer of these deadlines.
        listeners: The turn's listeners.
        parking: Parks the turn when it waits for a person; None: the runner waits.
    """

    def __init__(
        self,
        wire: ExchangeWire,
        clock: Clock,
        reply: Reply,
        asking: PendingAsks,
        *,
        deadlines: Deadlines,
        watch: DeadlineTimer,
        listeners: Listeners,
        parking: Parking | None = None,
    ) -> None:
        self._wire = wire
        self._clock = clock
        self.asking = asking
        self._deadlines = deadlines
        self._watch = watch
        self._listeners = listeners
        self._parking = parking
        self.reply = reply
        self._looked = self._stored = self._quiet_since = clock.monotonic()
        self._unstored = self._in_vain = self._row_written = False
        self._unreadable_since: float | None = None
        self._directory: str | None = None
        self._before: str | None = None

    def sending(self) -> None:
        """Note that the prompt is about to be sent, perhaps again after part of an answer."""
        self._watch.send()
        self._before = self._newest(self.reply)

    async def follow(self, events: Events, store: Store) -> Over:
        """Follow the events until the turn has ended or stalled.

        Args:
            events: The events of the turn's session.
            store: Stores the turn. Its argument says whether anything has changed. It is called at most four times a
                second, at least as often as the lease must be extended, and again soon after it returns False.

        Raises:
            TurnTimeoutError: A deadline passed.
            EndlessAnswerError: The server asks the model again without end.
            TurnParkedError: The turn waits for a person, and was parked.
            WireError: The state could not be read for too long.
        """
        while True:
            try:
                event = await events.next(self._patience())
            except RowWrittenError:
                self._row_written, event = True, None
            over = await self._take(event)
            if over is not None:
                return over
            await self._keep(store)
            if self._watch.check(waiting_since=self.asking.waiting_for_a_person()):
                await self.asking.expire()
            elif self._parking is not None and self._clock.monotonic() >= self._next_parking():
                self._quiet_since = self._clock.monotonic()
                await self._parking.park(self.asking)

    async def look(self) -> Over | None:
        """Read the state, with the asks. None if the turn goes on, or the server is away for a moment."""
        try:
            for pause in (*_SETTLE, None):
                # In this order: what is read while a session still works can be followed by more.
                busy = await self._busy()
                messages = await self._exchange()
                stored = Reply.of(self.reply.session_id, self.reply.prompt_id, messages)
                self._watch.begun |= bool(stored.messages)
                self._unreadable_since = None
                if stored.final and (not busy or await self._is_overtaken()):
                    self._settle(messages)
                    return Over()
                self._tell(self.reply.absorb(messages))
                if busy:
                    self._watch.check_steps(self.reply.endless)
                    if await self.asking.refresh():
                        self._asks_changed()
                    return None
                if self._only_just_sent(stored):
                    return None
                if pause is None:
                    self._settle(messages)
                    return Over(stalled=True)
                # An idle can come before the server's last write, so look again.
                await self._clock.sleep(pause)
        except PASSING as error:
            _log.debug("the state of session %s cannot be read now: %s", self.reply.session_id, error)
            now = self._clock.monotonic()
            self._unreadable_since = self._unreadable_since or now
            if now - self._unreadable_since >= self._deadlines.unreachable:
                raise
        finally:
            self._looked = self._clock.monotonic()
        return None

    async def forget(self, events: Events) -> None:
        """Drop the error and the events that were not read yet; the next look reads the state."""
        self.reply.error = None
        while True:
            with suppress(RowWrittenError):
                if await events.next(0.0) is None:
                    return

    def _patience(self) -> float:
        """Seconds until the next look or write is due."""
        deadline = self._watch.due(waiting_since=self.asking.waiting_for_a_person())
        due = min(self._next_look(), self._next_write(), self._next_parking(), deadline)
        return max(due - self._clock.monotonic(), 0.0)

    def _next_look(self) -> float:
        if self._unreadable_since is not None:
            return self._looked + _LOOK_AGAIN
        return max(self._watch.heard, self._looked) + self._deadlines.look

    def _next_parking(self) -> float:
        if self._parking is None or self._unstored:
            return math.inf
        return self._parking.due(self._quiet_since, self.reply, self.asking)

    def _next_write(self) -> float:
        if self._row_written:
            return 0.0
        if self._in_vain:
            return self._stored + _STORE_AGAIN
        if self._unstored:
            return _next_beat(self._stored)
        return self._stored + self._deadlines.lease / 3

    async def _take(self, event: Event | None) -> Over | None:
        if event is None:
            return await self.look() if self._clock.monotonic() >= self._next_look() else None
        self._quiet_since = self._clock.monotonic()
        if isinstance(event, Gap):
            self._listeners.tell(EventsMissed(event.reason))
            return await self.look()
        self._watch.hear()  # a sub-agent's events are signs of life, too
        if isinstance(event, PermissionAsked | QuestionAsked) and not self.reply.asks(event):
            # The events that say which turn asks may have been missed; the stored messages say so, too.
            over = await self.look()
            if over is not None or not self.reply.asks(event):
                return over
        if await self.asking.take(event):
            self._asks_changed()
        self._tell(self.reply.apply(event))
        if isinstance(event, MessageChanged):
            self._watch.check_steps(self.reply.endless)
        self._watch.begun |= bool(self.reply.messages)
        if event.session_id != self.reply.session_id:
            return None
        self._directory = self._directory or event.directory
        if isinstance(event, SessionStatus):
            self._listeners.tell(StatusChanged(event))
        return await self.look() if isinstance(event, SessionIdle | SessionFailed) else None

    def _asks_changed(self) -> None:
        """Delay the next write and the parking for a moment, because more events may follow.

        The event with the tool's input may come just after the ask (1.18.33), and the two must be stored and shown
        together. An ask that a look found may also belong to events that were not read yet.
        """
        self._unstored, self._quiet_since = True, self._clock.monotonic()
        self._stored = self._quiet_since + _FOR_MORE

    def _settle(self, messages: list[Message]) -> None:
        """Nobody works on the turn: what the server has stored is all there is, and nothing is asked any more."""
        self._tell(self.reply.settle(messages))
        self.asking.settle()

    def _tell(self, changes: list[Change]) -> None:
        if changes:
            self._unstored = True
        if self._watch.first_token is None and self.reply.begun:
            self._watch.first_token = seconds = self._watch.since_sent()
            self._listeners.tell(FirstToken(seconds))
        for change in changes:
            self._listeners.tell(ReplyChanged(change, self.reply))

    async def _exchange(self) -> list[Message]:
        ids = (self.reply.session_id, self.reply.prompt_id)
        # For a prompt that never arrived, reading the exchange would read the whole conversation.
        if not self.reply.messages and not await is_stored(self._wire, *ids):
            return []
        return await read_exchange(self._wire, *ids, known=len(self.reply.messages))

    async def _busy(self) -> bool:
        """Is the session busy? It can be after a final answer: the server compacts the conversation and goes on."""
        if self._directory is None:
            self._directory = (await self._wire.get(self.reply.session_id)).directory
        return await self._wire.busy(self.reply.session_id, directory=self._directory)

    async def _is_overtaken(self) -> bool:
        """Is another prompt newer than this one? Then the session is busy with that."""
        return not await is_newest(self._wire, self.reply.session_id, self.reply.prompt_id)

    @staticmethod
    def _newest(reply: Reply) -> str | None:
        return reply.last.id if reply.last is not None else None

    def _only_just_sent(self, stored: Reply) -> bool:
        """Was the prompt sent a moment ago? The session need not be busy yet."""
        if self._newest(stored) != self._before or self.reply.error is not None:
            return False
        return self._watch.since_sent() < self._deadlines.look

    async def _keep(self, store: Store) -> None:
        """Store the changes at most four times a second, and extend the lease in time."""
        if self._clock.monotonic() >= self._next_write():
            self._row_written = False
            self._in_vain = not await store(self._unstored)
            self._unstored &= self._in_vain
            self._stored = self._clock.monotonic()


def _next_beat(moment: float) -> float:
    """The time of the next write: the same for all turns of a process, so that one transaction stores many turns."""
    return (moment // _SNAPSHOT_EVERY + 1) * _SNAPSHOT_EVERY
