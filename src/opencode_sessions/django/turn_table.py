"""The turns of all models, databases and tenants of a project, for their runners: a `TurnTable`."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections, models, transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from opencode_sessions.django.clock import Epoch, Moment
from opencode_sessions.django.connections import borrowed, shared
from opencode_sessions.django.databases import databases_of
from opencode_sessions.django.leases import (
    abandoned,
    behind_another,
    being_run,
    waiting_for_answer,
    waiting_for_place,
)
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.registry import message_models, record_of
from opencode_sessions.django.rows import all_rows, database_of
from opencode_sessions.django.tenants import all_tenants, current_tenant, inside
from opencode_sessions.django.together import DjangoTogether
from opencode_sessions.django.turn_places import lacks_table, record_column, running, waiting
from opencode_sessions.errors import WrongRowError
from opencode_sessions.store import claims
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.record_columns import UID
from opencode_sessions.store.turn_table import Ahead, MayBegin, Place, TurnCounts, TurnJob, Usage

__all__ = ["DjangoTurnTable", "table"]

_log = logging.getLogger("opencode_sessions.django")

_AT_ONCE = 500
_LONG_AGO = 600.0

_PENDING = Q(status=TurnStatus.PENDING.value)
_STREAMING = Q(status=TurnStatus.STREAMING.value)


class DjangoTurnTable:
    """`TurnTable` over every model with the columns of a message. It blocks, in the thread that calls it."""

    def __init__(self) -> None:
        self._together: dict[str, DjangoTogether] = {}

    def job_of(self, message: models.Model, *, using: str | None = None) -> TurnJob:
        """See `TurnTable.job_of`.

        Args:
            message: See there.
            using: The alias of the row's database; by default the routers' choice for writes.

        Raises:
            ImproperlyConfigured: Its tenant is unknown; see `current_tenant`.
        """
        _ = DjangoMessageStore(message).key
        using = using or database_of(message)
        tenant = current_tenant(using)
        return TurnJob(
            table=message._meta.label,
            pk=message._meta.pk.value_to_string(message),
            database=using,
            record=f"{using}:{tenant}:{_record_key(message)}",
            tenant=tenant,
            uid=_uid_of(message),
        )

    @contextmanager
    def inside(self, tenant: str) -> Iterator[None]:
        """See `TurnTable.inside`. Turns that work at the same time share connections."""
        with inside(tenant), shared.at_work():
            yield

    async def find(self, job: TurnJob) -> models.Model | None:
        """See `TurnTable.find`."""
        with borrowed(job.database, shares=True):
            message: models.Model | None = _row(job).first()
        if message is not None and job.uid and _uid_of(message) != job.uid:
            raise WrongRowError(
                f"{job} is another row here than the one that was enqueued: this process reads another schema or "
                "database. Nothing is run; see docs/tenants.md",
                record=str(job),
            )
        return message

    def store(self, job: TurnJob, message: models.Model) -> DjangoMessageStore:
        """See `TurnTable.store`."""
        together = self._together.get(job.database)
        if together is None:  # if two threads make one at once, the first one stays
            together = self._together.setdefault(job.database, DjangoTogether(job.database))
        return DjangoMessageStore(message, using=job.database).through(together)

    async def reserve(self, message: models.Model, seconds: float) -> None:
        """See `TurnTable.reserve`."""
        row = _row(self.job_of(message))
        pending = row.filter(_PENDING)
        enqueued = Coalesce("enqueued_at", Value(timezone.now()), output_field=models.DateTimeField())
        values = {**_reserved(seconds), "enqueued_at": enqueued}
        field = record_column(type(message))
        if field is not None:
            turns = all_rows(type(message), row.db).filter(**{field.attname: row.values(field.attname)[:1]})
            last = turns.aggregate(last=Max("opencode_turn_order"))["last"] or 0
            # In one statement: without a place, it would come before all others for a reader in between.
            if pending.filter(opencode_turn_order=0).update(opencode_turn_order=last + 1, **values):
                return
        pending.update(**values)

    def after_commit(self, message: models.Model, action: Callable[[], None]) -> None:
        """See `TurnTable.after_commit`."""
        transaction.on_commit(action, using=database_of(message))

    async def renew(self, jobs: Collection[TurnJob], seconds: float) -> None:
        """See `TurnTable.renew`."""
        by_table: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
        for job in jobs:
            by_table[job.table, job.database, job.tenant].append(job.pk)
        for (label, using, tenant), keys in by_table.items():
            try:
                with inside(tenant):
                    _renew(label, using, keys, seconds)
            except DatabaseError as error:  # only of this database: the others must not wait for it
                _log.warning("turns in the database %s cannot be reserved now: %s", using, error)

    async def release(self, jobs: Collection[TurnJob]) -> None:
        """See `TurnTable.release`."""
        reserved = Q(opencode_turn_lease__isnull=False) & (
            _PENDING | _STREAMING & Q(opencode_turn_parked=True)
        )
        before_any_renewal = Moment(-_LONG_AGO)  # also before one that still waits until it can write
        for job in jobs:
            with inside(job.tenant):
                _row(job).filter(reserved).update(opencode_turn_lease=before_any_renewal)

    async def abandoned(self, *, reserve_for: float) -> Sequence[TurnJob]:
        """See `TurnTable.abandoned`."""
        found: list[TurnJob] = []
        for tenant in all_tenants():
            with inside(tenant):
                found += [job for model in message_models() for job in self._abandoned(model, reserve_for)]
        return found

    def _abandoned(self, model: type[models.Model], seconds: float) -> Iterator[TurnJob]:
        """The abandoned turns of the present tenant."""
        for using in databases_of(model):
            try:
                yield from self._abandoned_in(model, using, seconds)
            except DatabaseError as error:  # of this one: the others are not to wait for it
                if lacks_table(model, using):
                    _log.debug("the database %s has no table of %s", using, model.__name__)
                else:
                    _log.warning(
                        "turns that were left behind in the database %s cannot be looked for now: %s",
                        using,
                        error,
                    )

    def _abandoned_in(self, model: type[models.Model], using: str, seconds: float) -> Iterator[TurnJob]:
        found = all_rows(model, using).filter(abandoned()).order_by("pk")
        for message in [*found[:_AT_ONCE], *_next_parked(model, using)[:_AT_ONCE]]:
            if database_of(message) != using:
                continue  # a replica: the primary database returns the same turn
            try:
                job = self.job_of(message, using=using)
            except Exception:  # noqa: BLE001 - from a property of the host's; the other turns must not wait for it
                _log.exception(
                    "the turn of %s %s was left behind, and cannot be run", model.__name__, message.pk
                )
                continue
            if message.status == TurnStatus.PENDING.value and not _reserve(
                job, _PENDING & (abandoned() | behind_another()), seconds
            ):
                continue
            yield job

    async def counts(self) -> TurnCounts:
        """See `TurnTable.counts`. A database that is away counts as empty."""
        found = TurnCounts()
        for tenant in all_tenants():
            with inside(tenant):
                for model in message_models():
                    for using in databases_of(model):
                        try:
                            found = found.plus(_counts(model, using))
                        except DatabaseError as error:  # the other databases are counted nevertheless
                            _log.debug("turns in the database %s cannot be counted now: %s", using, error)
        return found

    async def ahead_of(self, job: TurnJob, message: models.Model) -> Ahead | None:
        """See `TurnTable.ahead_of`."""
        with borrowed(job.database, shares=True):
            return _ahead_of(job, message)

    async def put_behind(self, job: TurnJob, message: models.Model, seconds: float) -> bool:
        """See `TurnTable.put_behind`."""
        if record_column(type(message)) is None:
            return False
        with borrowed(job.database, shares=True):
            waiting = _row(job).filter(_PENDING, opencode_turn_order__gt=0)
            if not waiting.update(opencode_turn_lease=None, opencode_turn_parked=False):
                return False
            ahead = _ahead_of(job, message)
            if (ahead is not None and ahead.runs) or _is_claimed(message):
                return True
            # Otherwise another process has just found the turn, and runs it.
            return not waiting.filter(opencode_turn_lease=None).update(opencode_turn_lease=Moment(seconds))

    async def wait_for_place(self, job: TurnJob, seconds: float) -> bool:
        """See `TurnTable.wait_for_place`."""
        with borrowed(job.database, shares=True):
            may_wait = _row(job).filter(_PENDING, Q(opencode_turn_parked=False) | abandoned())
            return not may_wait.update(opencode_turn_lease=Moment(seconds), opencode_turn_parked=True)

    async def resume_waiting(
        self, message: models.Model, place: Place, seconds: float, may_begin: MayBegin
    ) -> TurnJob | None:
        """See `TurnTable.resume_waiting`. A server has turns of all models, in the tenant that is in force."""
        for using, found in waiting(message, place):
            job = self.job_of(found, using=using)
            if not await may_begin(found):
                continue
            with borrowed(using, shares=True):
                if _reserve(job, waiting_for_place(), seconds):
                    return job
        return None

    async def resume(self, message: models.Model, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume`."""
        job = self.job_of(message)
        with borrowed(job.database, shares=True):
            waiting = _row(job).filter(_STREAMING, opencode_turn_parked=True)
            return job if waiting.update(opencode_turn_lease=Moment(seconds)) else None

    async def resume_next(self, message: models.Model, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume_next`."""
        model, using = type(message), database_of(message)
        field = record_column(model)
        if field is None:
            return None
        with borrowed(using, shares=True):
            mine = _next_parked(model, using).filter(**{field.attname: getattr(message, field.attname)})
            found = mine.first()
            job = None if found is None else self.job_of(found, using=using)
            return job if job is not None and _reserve(job, behind_another(), seconds) else None

    async def usage(self, message: models.Model, of: Q, since: datetime | None) -> Usage:
        """See `TurnTable.usage`."""
        using = database_of(message)
        counts = Q() if since is None else Q(started_at__gte=since)
        with borrowed(using, shares=True):
            found = (
                all_rows(type(message), using)
                .filter(of)
                .aggregate(
                    running=Count("pk", filter=being_run()),
                    cost=Sum("cost", filter=counts),
                    tokens=Sum(F("input_tokens") + F("output_tokens"), filter=counts),
                )
            )
        return Usage(found["running"], found["cost"] or 0.0, found["tokens"] or 0)

    async def running(self) -> Mapping[str | None, int]:
        """See `TurnTable.running`. One query for each model and database, of the tenant that is in force."""
        return running()

    def is_transient(self, error: Exception) -> bool:
        """See `TurnTable.is_transient`."""
        return isinstance(error, DatabaseError)

    def give_back(self) -> None:
        """See `TurnTable.give_back`."""
        connections.close_all()


table = DjangoTurnTable()


def _row(job: TurnJob) -> models.QuerySet[Any]:
    model = apps.get_model(job.table)
    return all_rows(model, job.database).filter(pk=model._meta.pk.to_python(job.pk))


def _counts(model: type[models.Model], using: str) -> tuple[int, ...]:
    live = Q(opencode_turn_lease__gt=Moment())
    asking = waiting_for_answer()
    queued = _PENDING & live | behind_another()
    states = queued, _STREAMING & live & ~asking, asking & live, abandoned()
    with borrowed(using):
        rows = all_rows(model, using).filter(_PENDING | _STREAMING)
        found = rows.aggregate(
            **{f"opencode_{at}": Count("pk", filter=state) for at, state in enumerate(states)}
        )
    return tuple(found.values())


def _reserved(seconds: float) -> dict[str, Any]:
    """Of a turn that has not begun."""
    return {"opencode_turn_lease": Moment(seconds), "opencode_turn_parked": False}


def _reserve(job: TurnJob, where: Q, seconds: float) -> bool:
    return bool(_row(job).filter(where).update(**_reserved(seconds)))


def _renew(label: str, using: str, keys: list[str], seconds: float) -> None:
    model = apps.get_model(label)
    for some in range(0, len(keys), _AT_ONCE):
        pks = [model._meta.pk.to_python(key) for key in keys[some : some + _AT_ONCE]]
        rows = all_rows(model, using).filter(_PENDING, pk__in=pks)
        rows.filter(opencode_turn_lease__gt=Moment()).update(opencode_turn_lease=Moment(seconds))


def _next_parked(model: type[models.Model], using: str) -> models.QuerySet[Any]:
    """The turns that are parked behind another one of their record, of which none runs or waits; in their order."""
    rows = all_rows(model, using)
    field = record_column(model)
    if field is None:
        return rows.none()
    others = rows.filter(_STREAMING | waiting_for_place(), **{field.attname: OuterRef(field.attname)})
    return rows.filter(behind_another()).filter(~Exists(others)).order_by("opencode_turn_order", "pk")


def _ahead_of(job: TurnJob, message: models.Model) -> Ahead | None:
    model = type(message)
    field = record_column(model)
    if field is None:
        return None
    place = message.opencode_turn_order  # type: ignore[attr-defined]  # MessageModel
    earlier = Q(opencode_turn_order__lt=place) | Q(opencode_turn_order=place, pk__lt=message.pk)
    enqueued = _PENDING & (Q(opencode_turn_lease__isnull=False) | behind_another())
    # One that is parked counts as run: to run it before it is resumed would only park it again.
    has_lease = (_STREAMING | waiting_for_place()) & Q(opencode_turn_lease__gt=Moment())
    found: Any = (
        all_rows(model, job.database)
        .filter(_STREAMING | enqueued & earlier, **{field.attname: getattr(message, field.attname)})
        .only("status", "opencode_uid")
        .annotate(opencode_runs=models.ExpressionWrapper(has_lease, output_field=models.BooleanField()))
        .order_by("-status", "opencode_turn_order", "pk")  # "streaming" comes after "pending"
        .first()
    )
    if found is None or found.pk == message.pk:  # another process has begun it since
        return None
    other = replace(job, pk=model._meta.pk.value_to_string(found), uid=_uid_of(found))
    return Ahead(other, bool(found.opencode_runs))


def _is_claimed(message: models.Model) -> bool:
    """Does another turn hold its record?"""
    record = record_of(message)
    rows = all_rows(type(record), database_of(record)).filter(pk=record.pk)
    claimed, now = rows.values_list("opencode_turn", Epoch()).first() or (None, 0.0)
    return claims.other_holder(claimed, DjangoMessageStore(message).key, now) is not None


def _uid_of(message: models.Model) -> str:
    return getattr(message, UID, None) or ""


def _record_key(message: models.Model) -> str:
    """The key of its record; without a query, if a foreign key has it."""
    field = record_column(type(message))
    if field is not None:
        return f"{field.related_model._meta.label}:{getattr(message, field.attname)}"
    record = record_of(message)
    return f"{record._meta.label}:{record.pk}"
