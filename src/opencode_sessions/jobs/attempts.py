"""Running the turn of one job: which failures are retried, and when the turn fails.

| situation | action |
|---|---|
| another turn of its record runs | park it; the end of the other turn enqueues it (see `TurnTable.put_behind`) |
| it waits for a person | park it; the answer enqueues it |
| another turn of its record comes first | run that one here, before it |
| another process runs this same turn | leave it to that process |
| a limit on turns at a time is reached | park it; another turn's end enqueues it; or fail it, if the host says so |
| the server or the database is away | retry; a turn that has not begun, until `Deadlines.unreachable` has passed |
| any other error, or that time has passed | fail a turn that has not begun, with the reason in its row; retry others |

Failed attempts and the pauses after them count towards that time. Time during which no runner is free does not. If a
property of the host's names a turn's record, no query finds the turn by its record. It is then not parked behind
another turn, but retried.

A turn of the record that has begun and whose runner died comes first, then turns that were enqueued earlier (see
`TurnTable.ahead_of`). The process that finds such a turn runs it. So no turn waits for another process, or for a job
behind it in its own queue.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any, cast

from opencode_sessions.errors import (
    RecordGoneError,
    TurnInProgressError,
    TurnLimitError,
    TurnParkedError,
    TurnTakenError,
    WrongRowError,
)
from opencode_sessions.jobs.ports import JobHost, PreparedTurn
from opencode_sessions.runtime.stepping import result_of
from opencode_sessions.store.messages import PENDING_LEASE, MessageState, MessageStore, TurnStatus
from opencode_sessions.store.turn_table import Ahead, TurnJob
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.events import TurnFound
from opencode_sessions.turns.follower import PASSING
from opencode_sessions.turns.results import TurnResult

__all__ = ["TurnAttempts"]

_log = logging.getLogger("opencode_sessions.jobs")

_BUSY = (0.25, 0.5, 1.0, 2.0)
_AWAY = (0.5, 1.0, 2.0, 3.0, 5.0, 5.0, 10.0, 15.0, 30.0)
_SELDOM = (30.0, 60.0, 120.0, 300.0)

_GIVES_WAY = 5
_AGAIN = 1.0


class TurnAttempts:
    """The attempts at one job.

    Args:
        host: The host of the job.
        job: The job.
        when_busy: If another process runs this same turn, `wait` waits for its end, and `reject` leaves it alone.
        patience: How long to wait for a server that is away before a turn that has not begun fails, in seconds. By
            default the turn's `Deadlines.unreachable`.
        clock: A monotonic clock, in seconds.
        waits_changed: Called with 1 when the turn begins to wait for a person, and with -1 when that ends.

    Attributes:
        result: The result of the turn, once it has ended.
        first: After an attempt, the turn that must run before the next attempt; None if there is none.
        parked: Whether the turn was parked.
        ends: Whether this process is about to end, so that no turn may begin.
    """

    def __init__(
        self,
        host: JobHost,
        job: TurnJob,
        *,
        when_busy: WhenBusy,
        patience: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        waits_changed: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.job = job
        self.result: TurnResult | None = None
        self.first: TurnJob | None = None
        self.parked = self.ends = False
        self._host = host
        self._table = host.table
        self._when_busy = when_busy
        self._patience = patience
        self._clock = clock
        self._tries = 0
        self._pauses: tuple[float, ...] = ()
        self._waits_changed = waits_changed
        self._waits = False
        self._taken_at: float | None = None
        self._away = 0.0
        self._running: PreparedTurn | None = None
        self._deadlines = Deadlines()
        self._gave_way: tuple[TurnJob | None, int] = (None, 0)

    async def attempt(self) -> float | None:
        """Run the turn to its end.

        Returns:
            Seconds until the next attempt; None if there is none, because the turn has ended or others run it.
        """
        with self._table.inside(self.job.tenant):
            return await self._attempt()

    async def release(self) -> None:
        """Leave the turn to the next runner, because this process is about to end."""
        self.ends = True
        running = self._running  # an attempt that ends just now sets it to None
        if running is not None:
            await result_of(running.turn.release())

    async def _attempt(self) -> float | None:
        message: Any = None
        self.first, self.parked = None, False
        try:
            message = await self._table.find(self.job)
            prepared = await self._prepare(message) if message is not None else None
            if self.first is not None:
                return 0.0 if self._gave_way[1] == 1 else _AGAIN
            if prepared is not None:
                await self._run(prepared, had_ended=TurnStatus(message.status).terminal)
        except (TurnParkedError, TurnTakenError) as error:
            _log.info("%s is not run here any more: %s", self.job, error)
            self.parked = isinstance(error, TurnParkedError)
            return None
        except WrongRowError as error:
            self._report(error)
            return None
        except Exception as error:  # noqa: BLE001 - `_after` handles every kind of error
            return await self._after(error, message)
        finally:
            self._running = self._taken_at = None
            self.wait(waits=False)
        return None

    def taken(self) -> None:
        """Note that the turn was started. From now on it waits only for the server."""
        self._taken_at = self._clock()

    def wait(self, *, waits: bool) -> None:
        """Note whether the turn waits for a person."""
        if waits != self._waits:
            self._waits = waits
            self._waits_changed(1 if waits else -1)

    async def _prepare(self, message: Any) -> PreparedTurn:
        store = cast("MessageStore", _WatchedStore(self._table.store(self.job, message), self))
        begun = message.status != TurnStatus.PENDING.value
        # A turn that has not begun never waits inside `Turn.run`: the turn for which it waits may be abandoned.
        when_busy = self._when_busy if begun else "reject"
        prepared = await self._host.prepare(message, store=store, when_busy=when_busy)
        self._deadlines = prepared.deadlines
        if not begun and prepared.when_busy != "cancel":
            self.first = self._first_of(await self._table.ahead_of(self.job, message), store.key)
        return prepared

    def _first_of(self, ahead: Ahead | None, key: str) -> TurnJob | None:
        """The turn that must run first; None also if attempts at that turn have failed again and again.

        Raises:
            TurnInProgressError: Another process runs that turn.
        """
        if ahead is not None and ahead.runs:
            self._gave_way = (None, 0)
            raise TurnInProgressError(
                f"the turn of {key} cannot begin: {ahead.job} is being run", message_key=key
            )
        first = ahead.job if ahead is not None else None
        before, times = self._gave_way
        self._gave_way = (first, times + 1 if first == before else 1)
        return first if self._gave_way[1] <= _GIVES_WAY else None

    async def _run(self, prepared: PreparedTurn, *, had_ended: bool) -> None:
        self._running = prepared
        if self.ends:  # `release` may have been called before there was a turn to release
            return
        with prepared.steering:
            self.result = await result_of(prepared.turn.run(park=True))
        if not had_ended:  # otherwise its runner has announced it
            prepared.announce(self.result)

    async def _after(self, error: Exception, message: Any | None) -> float | None:
        if message is None:
            return self._unread(error)
        try:
            row = await self._table.store(self.job, message).load()
            if row.status.terminal:
                return None
            if isinstance(error, TurnLimitError) and error.waits:
                over = await self._wait_for_place()
            elif not isinstance(error, TurnInProgressError):
                return await self._failed(error, message, row)
            elif row.status is TurnStatus.STREAMING and not row.abandoned:  # another process runs it
                over = self._when_busy == "reject"
            else:
                over = await self._park(message)
        except RecordGoneError:
            return None
        except Exception as second:
            if not self._table.is_transient(second):
                raise
            return self._again(_AWAY, second)
        return None if over else self._again(_BUSY, error)

    def _unread(self, error: Exception) -> float | None:
        """Decide after the row could not be read. The job may be of a newer release; a newer process can run it."""
        if self._table.is_transient(error):
            return self._again(_AWAY, error)
        self._report(error)
        return None

    async def _park(self, message: Any) -> bool:
        """Park the turn behind another one, if that is possible."""
        self.parked = not self.ends and await self._table.put_behind(self.job, message, PENDING_LEASE)
        return self.parked

    async def _wait_for_place(self) -> bool:
        """Let it wait without anything here. Once it is parked, another try sees whether a place is free by now."""
        self.parked = not self.ends and await self._table.wait_for_place(self.job, PENDING_LEASE)
        return self.parked

    async def _failed(self, error: Exception, message: Any, row: MessageState) -> float | None:
        begun = row.status is TurnStatus.STREAMING and not (
            isinstance(error, RecordGoneError) and row.abandoned
        )
        if self._taken_at is not None and not begun:
            self._away += self._clock() - self._taken_at
        passing = isinstance(error, PASSING) or self._table.is_transient(error)
        if passing and (begun or self._patience_left() > 0):
            pause = self._again(_AWAY, error, at_most=inf if begun else self._patience_left())
            self._away += pause
            return pause
        self._report(error)
        if begun:
            return self._again(_SELDOM, error)
        await self._end(message, row, error)
        return None

    def _patience_left(self) -> float:
        return (self._deadlines.unreachable if self._patience is None else self._patience) - self._away

    def _again(self, pauses: tuple[float, ...], error: Exception, *, at_most: float = inf) -> float:
        if pauses is not self._pauses:
            self._pauses, self._tries = pauses, 0
        # With a random factor: turns that a limit refuses at the same time would otherwise all come back together.
        pause = min(pauses[min(self._tries, len(pauses) - 1)] * _jitter(error), at_most)
        self._tries += 1
        level = logging.DEBUG if isinstance(error, TurnInProgressError | TurnLimitError) else logging.WARNING
        _log.log(level, "the turn of %s cannot be run now, again in %g s: %s", self.job, pause, error)
        return pause

    async def _end(self, message: Any, row: MessageState, error: Exception) -> None:
        """Store that the turn failed: its prompt was not sent, and will not be."""
        store = self._table.store(self.job, message)
        why = {"name": type(error).__name__, "message": str(error)}
        if await store.fail(row, why):
            end = replace(row, status=TurnStatus.FAILED, asks=(), error=why, revision=row.revision + 1)
            store.remember(end)
            self.result = TurnResult.of(end)
            turn = TurnFound.of(store.key, self.job.record, row)
            self._host.announce(message, turn, self.result)
            await self._hand_on(message)

    async def _hand_on(self, message: Any) -> None:
        try:
            await self._host.hand_on(message)
        except Exception as error:  # noqa: BLE001 - reported: recovery finds the turns later
            self._host.report(error, "enqueue", str(self.job))

    def _report(self, error: Exception) -> None:
        self._host.report(error, "run", str(self.job))


def _jitter(error: Exception) -> float:
    return random.uniform(0.5, 1.5) if isinstance(error, TurnLimitError) else 1.0  # noqa: S311 - no secret


class _WatchedStore:
    """The message's store for its turn, which tells the attempts of each write."""

    def __init__(self, store: MessageStore, attempts: TurnAttempts) -> None:
        self._store = store
        self._attempts = attempts

    async def take(self, seen: MessageState, lease: float) -> bool:
        """See `MessageStore.take`."""
        taken = await self._store.take(seen, lease)
        if taken:
            self._attempts.taken()
        return taken

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """See `MessageStore.snapshot`."""
        self._attempts.wait(waits=bool(state.asks))
        return await self._store.snapshot(epoch, state, lease)

    async def reset_to_pending(self, epoch: int, lease: float | None = None) -> bool:  # noqa: ARG002 - the port's
        """See `MessageStore.reset_to_pending`. The turn stays reserved, unless this process is about to end."""
        return await self._store.reset_to_pending(epoch, 0.0 if self._attempts.ends else PENDING_LEASE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
