"""Running the turn of one job: what is tried again, and when it is given up, whoever runs it.

| what kept it from its end | what is done |
|---|---|
| another turn of its record runs | it is parked: the end of that one has it run (see `TurnTable.put_behind`) |
| a person is waited for | it is parked: the answer has it run |
| another turn of its record comes first | that one is run before it, here |
| somebody else runs this very turn | it is left to them |
| as many turns run as may run at once | it is tried again; or it fails, if the host says so |
| the server or the database is away | it is tried again, if not begun until `Deadlines.unreachable` has passed |
| anything else, or that has passed | a turn that had not begun fails, and its row says why; another is tried again |

The failed tries and the pauses after them count towards that time: while there is nobody free to run it, the clock
stands still. Where a property of the host's says which record a turn belongs to, nobody would find it by its record:
while another turn runs it is tried again.

What comes first is what was begun, and whoever ran it died; else what was enqueued before (see `TurnTable.ahead_of`).
It is run by whoever meets it: so nobody waits for another process, or for what stands behind it in its own queue.
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
        host: Whose job it is.
        job: What is to be run.
        when_busy: Where somebody else runs this very turn: `wait` for its end, or `reject`: leave it to them.
        patience: For how many seconds a server that is away is waited for, before a turn that had not begun fails;
            by default as the turn's `Deadlines.unreachable` says.
        clock: In seconds, never set back.
        waits_changed: Called with 1 when the turn begins to wait for a person, with -1 when it does no more.

    Attributes:
        result: How the turn ended, if it has.
        first: After an attempt, the turn that is to be run before the next one; None if there is none.
        parked: Whether it waits, and nothing here for it.
        ends: This process does: nothing is begun any more.
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
        """Run the turn, for as long as it takes.

        Returns:
            After how many seconds it is to be tried again; None: never, it has its end or belongs to others.
        """
        with self._table.inside(self.job.tenant):
            return await self._attempt()

    async def release(self) -> None:
        """This process ends: leave the turn to the next runner."""
        self.ends = True
        running = self._running  # an attempt that ends in this instant has none any more
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
        except Exception as error:  # noqa: BLE001 - sorted out there: nobody else would
            return await self._after(error, message)
        finally:
            self._running = self._taken_at = None
            self.wait(waits=False)
        return None

    def taken(self) -> None:
        """What is waited for from now on is the server."""
        self._taken_at = self._clock()

    def wait(self, *, waits: bool) -> None:
        """Does the turn wait for a person now?"""
        if waits != self._waits:
            self._waits = waits
            self._waits_changed(1 if waits else -1)

    async def _prepare(self, message: Any) -> PreparedTurn:
        store = cast("MessageStore", _WatchedStore(self._table.store(self.job, message), self))
        begun = message.status != TurnStatus.PENDING.value
        # One that has not begun never waits within its turn: what it waits for may be left behind meanwhile.
        when_busy = self._when_busy if begun else "reject"
        prepared = await self._host.prepare(message, store=store, when_busy=when_busy)
        self._deadlines = prepared.deadlines
        if not begun and prepared.when_busy != "cancel":
            self.first = self._first_of(await self._table.ahead_of(self.job, message), store.key)
        return prepared

    def _first_of(self, ahead: Ahead | None, key: str) -> TurnJob | None:
        """What is to be run first; not any more where that came to nothing again and again.

        Raises:
            TurnInProgressError: Somebody runs it.
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
        if self.ends:  # `release` may have come before there was a turn to release
            return
        with prepared.steering:
            self.result = await result_of(prepared.turn.run(park=True))
        if not had_ended:  # which was told where it was run
            prepared.announce(self.result)

    async def _after(self, error: Exception, message: Any | None) -> float | None:
        if message is None:
            return self._unread(error)
        try:
            row = await self._table.store(self.job, message).load()
            if row.status.terminal:
                return None
            if isinstance(error, TurnLimitError) and error.waits:
                over = False
            elif not isinstance(error, TurnInProgressError):
                return await self._failed(error, message, row)
            elif row.status is TurnStatus.STREAMING and not row.abandoned:  # it runs elsewhere
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
        """The row could not be read. If its job is of a newer release, another process knows what it names."""
        if self._table.is_transient(error):
            return self._again(_AWAY, error)
        self._report(error)
        return None

    async def _park(self, message: Any) -> bool:
        """Let it wait for another turn without anything here, if that is possible."""
        self.parked = not self.ends and await self._table.put_behind(self.job, message, PENDING_LEASE)
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
        # By chance longer or shorter: turns that step back from a limit in one instant would all come back at once.
        pause = min(pauses[min(self._tries, len(pauses) - 1)] * _jitter(error), at_most)
        self._tries += 1
        level = logging.DEBUG if isinstance(error, TurnInProgressError | TurnLimitError) else logging.WARNING
        _log.log(level, "the turn of %s cannot be run now, again in %g s: %s", self.job, pause, error)
        return pause

    async def _end(self, message: Any, row: MessageState, error: Exception) -> None:
        """Nothing was sent, and nobody is going to: the row says so."""
        store = self._table.store(self.job, message)
        why = {"name": type(error).__name__, "message": str(error)}
        if await store.fail(row, why):
            end = replace(row, status=TurnStatus.FAILED, asks=(), error=why, revision=row.revision + 1)
            store.remember(end)
            self.result = TurnResult.of(end)
            turn = TurnFound.of(store.key, self.job.record, row)
            self._host.announce(message, turn, self.result)

    def _report(self, error: Exception) -> None:
        self._host.report(error, "run", str(self.job))


def _jitter(error: Exception) -> float:
    return random.uniform(0.5, 1.5) if isinstance(error, TurnLimitError) else 1.0  # noqa: S311 - no secret


class _WatchedStore:
    """The message's store, through which its turn writes: the attempts hear what happens to the row."""

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
        """See `MessageStore.reset_to_pending`. It stays reserved; but not for a process that ends."""
        return await self._store.reset_to_pending(epoch, 0.0 if self._attempts.ends else PENDING_LEASE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
