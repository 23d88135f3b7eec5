"""Turns that have not begun and wait for another one of their record, without a runner; and who has them run.

Such a row is pending, has a place (`enqueue`), and no lease. Neither side can miss the other: whoever parks a turn
looks afterwards whether the other still runs, and whoever ends a turn looks afterwards for the next one. If that one's
process dies in between, the next sweep finds what waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import models
from django.db.models import Q

from opencode_sessions.django.clock import Epoch, Moment
from opencode_sessions.django.jobs import Job, ahead_of, next_parked, record_field_of
from opencode_sessions.django.leases import behind_another
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.registry import record_of
from opencode_sessions.django.rows import all_rows, borrowed, database_of
from opencode_sessions.django.tenants import current_tenant, inside
from opencode_sessions.store import claims
from opencode_sessions.store.messages import TurnStatus

__all__ = ["Dispatcher", "park"]


def park(job: Job, message: models.Model, seconds: float) -> bool:
    """Let a turn that cannot begin wait without a runner.

    Args:
        job: The turn.
        message: Its row.
        seconds: For how long the turn is undertaken, if it is not parked.

    Returns:
        False if it is to be tried again here: nothing that will have it run is in its way; or it was never enqueued, or
        a property of the host's says whose it is, so that nobody would find it.
    """
    if record_field_of(type(message)) is None:
        return False
    waiting = job.rows().filter(status=TurnStatus.PENDING.value, opencode_turn_order__gt=0)
    if not waiting.update(opencode_turn_lease=None):
        return False
    _, runs = ahead_of(job, message) or (None, False)
    if runs or _is_claimed(message):
        return True
    # Else somebody has found it in this instant, and has it run.
    return not waiting.filter(opencode_turn_lease=None).update(opencode_turn_lease=Moment(seconds))


class Dispatcher:
    """Hands parked turns of one record to the runner of the settings; a `TurnQueue`.

    Args:
        message: The one whose turn it is.
        asynchronous: Whether its calls suspend.
    """

    def __init__(self, message: models.Model, *, asynchronous: bool) -> None:
        self._message = message
        self._asynchronous = asynchronous
        # As for a store: an event loop's thread is of no tenant, the thread that works knows.
        self._tenant = None if asynchronous else current_tenant(database_of(message))

    async def put(self) -> None:
        """See `TurnQueue.put`."""
        await self._run(self._put)

    async def put_next(self) -> None:
        """See `TurnQueue.put_next`."""
        await self._run(self._put_next)

    async def _run(self, work: Callable[[], None]) -> None:
        if self._asynchronous:
            await sync_to_async(self._inside)(work)
        else:
            self._inside(work)

    def _inside(self, work: Callable[[], None]) -> None:
        if self._tenant is None:
            self._tenant = current_tenant(database_of(self._message))
        with inside(self._tenant):
            work()

    def _put(self) -> None:
        _submit(Job.of(self._message), Q(status=TurnStatus.STREAMING.value, opencode_turn_parked=True))

    def _put_next(self) -> None:
        model, using = type(self._message), database_of(self._message)
        field = record_field_of(model)
        if field is None:
            return
        with borrowed(using):
            mine = next_parked(model, using).filter(**{field.attname: getattr(self._message, field.attname)})
            found = mine.first()
        if found is not None:
            _submit(Job.of(found, using=using), behind_another())


def _submit(job: Job, waiting: Q) -> None:
    """Hand it to the runner, if it still waits."""
    from opencode_sessions.django import running  # noqa: PLC0415 - it runs turns, and they dispatch others

    runner = running.runner()
    with borrowed(job.using):
        found = job.rows().filter(waiting).update(opencode_turn_lease=Moment(runner.promise))
    if found:
        running.submit(job)


def _is_claimed(message: models.Model) -> bool:
    """Has another turn its record?"""
    record = record_of(message)
    rows = all_rows(type(record), database_of(record)).filter(pk=record.pk)
    claimed, now = rows.values_list("opencode_turn", Epoch()).first() or (None, 0.0)
    return claims.other_holder(claimed, DjangoMessageStore(message).key, now) is not None
