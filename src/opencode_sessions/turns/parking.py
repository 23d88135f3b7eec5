"""Parking: a turn that waits for a person needs no runner. Its row says so, and the agent waits on the server.

    the agent asks ─► the ask is in the row ─► nothing happens for two seconds ─► `park` ─► TurnParkedError
    a person answers ─► the row's lease is short again ─► the server is told ─► `resume` ─► the queue runs the turn

Neither can miss the other: the runner asks the server, after it has parked the turn, whether the asks still wait, and
whoever has answered reads the row afterwards. Until the runner has asked, and from before the answer to a parked turn,
the row's lease is short: if the process dies on the way, recovery finds the turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from opencode_sessions.errors import OpencodeError, RecordGoneError, TurnParkedError, TurnTakenError
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.claim import RecordLock
from opencode_sessions.turns.events import AskAnswered
from opencode_sessions.turns.pending_asks import PendingAsks
from opencode_sessions.turns.releasing import Release
from opencode_sessions.turns.spec import TurnSpec

__all__ = ["Parking", "resume", "seconds_left"]

QUIET = 2.0
"""Seconds without an event before a turn is parked: a quick answer does not pay for a new runner."""

_LONGEST = 30 * 86_400.0
"""Seconds; a turn whose person has longer is looked at once a month."""

_AT_WORK = ("pending", "running")


class Parking:
    """Parks one run of a turn.

    Args:
        spec: What it is.
        claim: The record's, which the turn keeps while it is parked.
        release: See `Release`.
        epoch: Under which the turn was taken.
    """

    def __init__(self, spec: TurnSpec, claim: RecordLock, release: Release, epoch: int) -> None:
        self._spec = spec
        self._claim = claim
        self._release = release
        self._epoch = epoch

    def due(self, quiet_since: float, reply: Reply, asking: PendingAsks) -> float:
        """When, by the clock, the turn is to be parked if nothing happens before; never (inf) while it works.

        A tool call that does not ask works, so the turn is not parked: its end, or what it asks later, is to be seen.
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
        """Leave the turn without a runner. Returns only if the database is away: try it again later.

        Raises:
            TurnParkedError: It is parked.
            TurnTakenError: The row is not this runner's any more.
        """
        spec = self._spec
        try:
            waits = await self._park(asking)
        except OpencodeError:
            raise
        except Exception as error:  # noqa: BLE001 - the database is elsewhere: the turn waits here meanwhile
            spec.lifecycle.report_suppressed("park", None, error)
            return
        if not waits:
            await spec.hand_on(spec.queue.put)
        key = spec.store.key
        raise TurnParkedError(
            f"the turn of {key} is parked: it waits for a person, and goes on when it is run again after the answer",
            message_key=key,
        )

    async def _park(self, asking: PendingAsks) -> bool:
        """Park it in the row. Does it still wait for a person?"""
        store, limits = self._spec.store, self._spec.deadlines
        seconds = seconds_left(asking.in_the_row, limits.person)
        await self._claim.keep(seconds)
        # Not for longer yet: this process may die before it has asked the server.
        if not await self._release.write(lambda: store.park(self._epoch, limits.lease)):
            raise TurnTakenError(
                f"the turn of {store.key} was taken or ended elsewhere", message_key=store.key
            )
        if not await asking.still_wait():
            return False
        await self._release.write(lambda: store.park(self._epoch, seconds))
        # An answer in between has taken its ask out of the row, and its short lease may be overwritten now.
        left = {ask["id"] for ask in (await store.load()).asks}
        return all(ask.id in left for ask in asking.in_the_row)


async def resume(spec: TurnSpec, ask: Ask) -> None:
    """If the turn is parked, take an ask that waits no more out of its row, and have the turn run."""
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
    """Until the deadline of the person who is to answer what has waited longest; a month at most."""
    return min(person - max((ask.age for ask in asks), default=0.0), _LONGEST)
