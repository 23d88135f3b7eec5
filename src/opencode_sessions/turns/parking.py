"""Parking: a turn that waits for a person needs no runner. Its row says so, and the agent waits on the server.

    the agent asks ─► the ask is in the row ─► nothing happens for two seconds ─► `park` ─► TurnParkedError
    a person answers ─► the row's lease is short again ─► the server is told ─► `resume` ─► the queue runs the turn

No answer is lost: after parking, the runner asks the server whether the asks still wait, and a process that answers
reads the row afterwards. The row's lease is short until the runner has asked, and again before an answer is sent. If a
process dies in between, recovery finds the turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from opencode_sessions.errors import OpencodeError, RecordGoneError, TurnParkedError
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.claim import RecordLock
from opencode_sessions.turns.events import AskAnswered
from opencode_sessions.turns.leases import taken
from opencode_sessions.turns.pending_asks import PendingAsks
from opencode_sessions.turns.releasing import Release
from opencode_sessions.turns.spec import TurnSpec

__all__ = ["Parking", "resume", "seconds_left"]

QUIET = 2.0
"""Seconds without an event before a turn is parked, so that a quick answer needs no new runner."""

_LONGEST = 30 * 86_400.0
"""The longest lease of a parked turn, in seconds. If the person has longer, recovery looks at the turn once a month."""

_AT_WORK = ("pending", "running")


class Parking:
    """Parks one run of a turn.

    Args:
        spec: The turn.
        claim: The record's lock, which the turn keeps while it is parked.
        release: See `Release`.
        epoch: The epoch of this run.
    """

    def __init__(self, spec: TurnSpec, claim: RecordLock, release: Release, epoch: int) -> None:
        self._spec = spec
        self._claim = claim
        self._release = release
        self._epoch = epoch

    def due(self, quiet_since: float, reply: Reply, asking: PendingAsks) -> float:
        """The clock's time at which to park the turn if nothing happens before; inf while the agent works.

        The agent works if a tool call runs that does not ask. Its end, or its later ask, needs a runner.
        """
        asks = asking.in_the_row
        if not asks or seconds_left(asks, self._spec.deadlines.person) <= 0:
            return math.inf
        calls, sessions = {ask.call_id for ask in asks}, {ask.session_id for ask in asks}
        for part in reply.tools:
            is_now = reply.last is not None and part.message_id == reply.last.id and part.status in _AT_WORK
            if (
                is_now
                and part.call_id not in calls
                and (part.metadata or {}).get("sessionId") not in sessions
            ):
                return math.inf
        return quiet_since + QUIET

    async def park(self, asking: PendingAsks) -> None:
        """Park the turn. Returns only if the database is away: the caller tries again later.

        Raises:
            TurnParkedError: The turn is parked.
            TurnTakenError: Another runner has taken or ended the turn.
        """
        spec = self._spec
        try:
            waits = await self._park(asking)
        except OpencodeError:
            raise
        except Exception as error:  # noqa: BLE001 - the database is away: until it is back, the turn waits here
            spec.lifecycle.report_suppressed("park", None, error)
            if not await self._is_parked():
                return
            waits = False  # an answer may have been stored in between: the next runner looks
        if not waits:
            await spec.hand_on(spec.queue.put)
        key = spec.store.key
        raise TurnParkedError(
            f"the turn of {key} is parked: it waits for a person, and goes on when it is run again after the answer",
            message_key=key,
        )

    async def _is_parked(self) -> bool:
        """Whether a write that raised has parked the turn nevertheless. False if the row cannot be read, either."""
        try:
            row = await self._spec.store.load()
        except OpencodeError:
            raise
        except Exception:  # noqa: BLE001 - the error of the write was reported
            return False
        return row.parked and row.epoch == self._epoch

    async def _park(self, asking: PendingAsks) -> bool:
        """Park the turn in its row. False if it no longer waits for a person."""
        store, limits = self._spec.store, self._spec.deadlines
        seconds = seconds_left(asking.in_the_row, limits.person)
        await self._claim.keep(seconds)
        # A short lease at first: this process may die before it has asked the server.
        if not await self._release.write(lambda: store.park(self._epoch, limits.lease)):
            raise taken(store.key)
        if not await asking.still_wait():
            return False
        await self._release.write(lambda: store.park(self._epoch, seconds))
        # An answer in between has removed its ask from the row, and this write may have replaced its short lease.
        left = {ask["id"] for ask in (await store.load()).asks}
        return all(ask.id in left for ask in asking.in_the_row)


async def resume(spec: TurnSpec, ask: Ask) -> None:
    """If the turn is parked, remove an ask that no longer waits from its row, and enqueue the turn."""
    store = spec.store
    try:
        row = await store.load()
    except RecordGoneError:
        return
    if not row.parked:
        return
    asks = tuple(value for value in row.asks if value["id"] != ask.id)
    said = replace(row, asks=asks, revision=row.revision + 1)
    if await store.snapshot(row.epoch, said, spec.deadlines.lease):
        spec.listeners.tell(spec.found(row))
        spec.listeners.tell(AskAnswered(ask))
        await spec.hand_on(spec.queue.put)


def seconds_left(asks: Iterable[Ask], person: float) -> float:
    """Seconds until the person's deadline for the oldest ask, at most a month."""
    return min(person - max((ask.age for ask in asks), default=0.0), _LONGEST)
