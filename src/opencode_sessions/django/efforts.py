"""Running one turn that was enqueued: what is tried again, and when it is given up, whoever runs it.

| what kept it from its end | what is done |
|---|---|
| another turn of its record runs | it is parked: the end of that one has it run (see `parked`) |
| a person is waited for | it is parked: the answer has it run |
| another turn of its record comes first | that one is run before it, here |
| somebody else runs this very turn | it is left to them |
| the server or the database is away | it is tried again, if not begun until `Deadlines.unreachable` has passed |
| anything else, or that has passed | a turn that had not begun fails, and its row says why; another is tried again |

The failed tries and the pauses after them count towards that time: while no thread is free, the clock
stands still. Where a property of the host's says which record a turn belongs to, nobody would find it by its record:
while another turn runs it is tried again.

What comes first is what was begun, and whoever ran it died; else what was enqueued before (see `ahead_of`). It is run
by whoever meets it: so nobody waits for another process, or for what stands behind it in its own queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from django.db import Error as DatabaseError
from django.db import models

from opencode_sessions.django.conf import settings
from opencode_sessions.django.jobs import Job, ahead_of
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.parked import park
from opencode_sessions.django.rows import borrowed
from opencode_sessions.django.sessions import prepared_turn
from opencode_sessions.django.signals import Announcing
from opencode_sessions.errors import (
    RecordGoneError,
    TurnInProgressError,
    TurnParkedError,
    TurnTakenError,
    WrongRowError,
)
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.store.record_columns import Later
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.follower import PASSING
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.turns.turn import Turn

__all__ = ["PROMISE", "Effort"]

_log = logging.getLogger("opencode_sessions.django")

_BUSY = (0.25, 0.5, 1.0, 2.0)
_AWAY = (0.5, 1.0, 2.0, 3.0, 5.0, 5.0, 10.0, 15.0, 30.0)
_SELDOM = (30.0, 60.0, 120.0, 300.0)

_GIVES_WAY = 5
_AGAIN = 1.0

PROMISE = 60.0
"""For how many seconds after the last sign of life a turn that waits here is believed to be run here."""


class _HeldStore(DjangoMessageStore):
    """A message store whose runner can let go of its turn: the row is then free for the next one at once.

    A turn that is put back stays undertaken, unless this process ends.

    Attributes:
        effort: Whose store it is. A sibling is nobody's: it is only read, and cancelled.
    """

    effort: Effort

    async def take(self, seen: MessageState, lease: float) -> bool:
        """See `MessageStore.take`."""
        taken = await super().take(seen, lease)
        if taken:
            self.effort.begin()
        return taken

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """See `MessageStore.snapshot`."""
        self.effort.wait(bool(state.asks))
        return await super().snapshot(epoch, state, lease)

    async def _swap(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        if values.get("status") == TurnStatus.PENDING.value:
            values = {**values, "opencode_turn_lease": Later(0 if self.effort.ends else PROMISE)}
        return await super()._swap(expected, values)


class Effort:
    """The tries of one job.

    Args:
        job: What is to be run.
        when_busy: Where somebody else runs this very turn: `wait` for its end, or `reject`: leave it to them.
        patience: For how many seconds a server that is away is waited for, before a turn that had not begun fails;
            by default as the turn's `Deadlines.unreachable` says.

    Attributes:
        result: How the turn ended, if it has.
        first: After a try, the turn that is to be run before the next one; None if there is none.
        parked: Whether it waits, and nothing here for it.
        ends: This process does: nothing is begun any more.
    """

    def __init__(
        self,
        job: Job,
        *,
        when_busy: WhenBusy,
        patience: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        stirred: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.job = job
        self.result: TurnResult | None = None
        self.first: Job | None = None
        self.parked = self.ends = False
        self._when_busy = when_busy
        self._patience = patience
        self._clock = clock
        self._tries = 0
        self._pauses: tuple[float, ...] = ()
        self._stirred = stirred
        self._waits = False
        self._began: float | None = None
        self._away = 0.0
        self._turn: Turn | None = None
        self._deadlines = Deadlines()
        self._gave_way: tuple[Job | None, int] = (None, 0)

    def attempt(self) -> float | None:
        """Run the turn. It blocks, for as long as the turn takes.

        Returns:
            After how many seconds it is to be tried again; None: never, it has its end or belongs to others.
        """
        with self.job.inside():
            return self._attempt()

    def _attempt(self) -> float | None:
        message: Any = None
        self.first, self.parked = None, False
        try:
            with borrowed(self.job.using):
                message = self._found()
                turn = self._prepared(message) if message is not None else None
            if self.first is not None:
                return 0.0 if self._gave_way[1] == 1 else _AGAIN
            if message is not None and turn is not None:
                had_ended = TurnStatus(message.status).terminal
                self._run(*turn, had_ended=had_ended)
        except (TurnParkedError, TurnTakenError) as error:
            _log.info("%s is not run here any more: %s", self.job, error)
            self.parked = isinstance(error, TurnParkedError)
            return None
        except WrongRowError as error:
            self._report(error)
            return None
        except Exception as error:  # noqa: BLE001 - sorted out there: nobody else would
            return self._after(error, message)
        finally:
            self._turn = self._began = None
            self.wait(False)
        return None

    def _found(self) -> Any:
        message = self.job.rows().first()
        if message is not None:
            self.job.check(message)
        return message

    def begin(self) -> None:
        """The turn is taken: what is waited for from now on is the server."""
        self._began = self._clock()

    def wait(self, waits: bool) -> None:  # noqa: FBT001 - the store's callback
        """Does the turn wait for a person now?"""
        if waits != self._waits:
            self._waits = waits
            self._stirred(1 if waits else -1)

    def let_go(self) -> None:
        """This process ends: leave the turn to the next runner."""
        self.ends = True
        turn = self._turn  # a try that ends in this instant has none any more
        if turn is not None:
            turn.release()

    def _prepared(self, message: models.Model) -> tuple[Turn, Announcing]:
        store = _HeldStore(message, using=self.job.using)
        store.effort = self
        begun = message.status != TurnStatus.PENDING.value  # type: ignore[attr-defined]  # MessageModel
        # One that has not begun never waits within its turn: what it waits for may be left behind meanwhile.
        defaults = {"when_busy": self._when_busy if begun else "reject", "store": store}
        turn, announcing, options = prepared_turn(message, defaults=defaults)
        self._deadlines = options.get("deadlines") or self._deadlines
        if not begun and options["when_busy"] != "cancel":
            self.first = self._ahead(message, store.key)
        return turn, announcing

    def _ahead(self, message: models.Model, key: str) -> Job | None:
        """What is to be run first; not any more where that came to nothing again and again.

        Raises:
            TurnInProgressError: Somebody runs it.
        """
        first, runs = ahead_of(self.job, message) or (None, False)
        if runs:
            self._gave_way = (None, 0)
            raise TurnInProgressError(
                f"the turn of {key} cannot begin: {first} is being run", message_key=key
            )
        before, times = self._gave_way
        self._gave_way = (first, times + 1 if first == before else 1)
        return first if self._gave_way[1] <= _GIVES_WAY else None

    def _run(self, turn: Turn, announcing: Announcing, *, had_ended: bool) -> None:
        self._turn = turn
        if self.ends:  # `let_go` may have come before there was a turn to release
            return
        self.result = turn.run(park=True)
        if not had_ended:  # which was told where it was run
            announcing.end(self.result)

    def _after(self, error: Exception, message: models.Model | None) -> float | None:
        if message is None:
            return self._again(_AWAY, error)  # it could not be read
        try:
            row = run_sync(self._store_of(message).load())
            if row.status.terminal:
                return None
            if not isinstance(error, TurnInProgressError):
                return self._failed(error, message, row)
        except RecordGoneError:
            return None
        except DatabaseError as second:
            return self._again(_AWAY, second)
        runs_elsewhere = row.status is TurnStatus.STREAMING and not row.abandoned
        over = self._when_busy == "reject" if runs_elsewhere else self._park(message)
        return None if over else self._again(_BUSY, error)

    def _park(self, message: models.Model) -> bool:
        """Let it wait for another turn without anything here, if that is possible."""
        with borrowed(self.job.using):
            self.parked = not self.ends and park(self.job, message, PROMISE)
        return self.parked

    def _failed(self, error: Exception, message: models.Model, row: MessageState) -> float | None:
        begun = row.status is TurnStatus.STREAMING and not (
            isinstance(error, RecordGoneError) and row.abandoned
        )
        if self._began is not None and not begun:
            self._away += self._clock() - self._began
        if isinstance(error, (*PASSING, DatabaseError)) and (begun or self._is_patient()):
            pause = self._again(_AWAY, error)
            self._away += pause
            return pause
        self._report(error)
        if begun:
            return self._again(_SELDOM, error)
        self._end(message, row, error)
        return None

    def _is_patient(self) -> bool:
        return self._away < (self._deadlines.unreachable if self._patience is None else self._patience)

    def _again(self, pauses: tuple[float, ...], error: Exception) -> float:
        if pauses is not self._pauses:
            self._pauses, self._tries = pauses, 0
        pause = pauses[min(self._tries, len(pauses) - 1)]
        self._tries += 1
        level = logging.DEBUG if isinstance(error, TurnInProgressError) else logging.WARNING
        _log.log(level, "the turn of %s cannot be run now, again in %g s: %s", self.job, pause, error)
        return pause

    def _end(self, message: models.Model, row: MessageState, error: Exception) -> None:
        """Nothing was sent, and nobody is going to: the row says so."""
        store = self._store_of(message)
        why = {"name": type(error).__name__, "message": str(error)}
        end = replace(row, status=TurnStatus.FAILED, error=why, revision=row.revision + 1)
        if run_sync(store.take(row, self._deadlines.lease)) and run_sync(store.finish(row.epoch + 1, end)):
            store.remember(end)
            self.result = TurnResult.of(end)
            Announcing(message).end(self.result)

    def _store_of(self, message: models.Model) -> DjangoMessageStore:
        return DjangoMessageStore(message, using=self.job.using)

    def _report(self, error: Exception) -> None:
        ErrorReporter(settings().on_error)(error, ErrorContext("run", str(self.job)))
