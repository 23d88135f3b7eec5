"""A turn that is to be run, as it is handed from process to process: what names its message, and nothing else."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import Exists, Max, OuterRef, Q

from opencode_sessions.django.clock import Moment
from opencode_sessions.django.leases import abandoned, behind_another, being_run
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.registry import record_field, record_of
from opencode_sessions.django.rows import all_rows, database_of
from opencode_sessions.django.tenants import current_tenant, inside
from opencode_sessions.errors import WrongRowError
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.record_columns import UID

__all__ = [
    "Job",
    "abandoned_jobs",
    "ahead_of",
    "give_up",
    "keep",
    "next_parked",
    "record_field_of",
    "undertake",
]

_log = logging.getLogger("opencode_sessions.django")

_AT_ONCE = 500
_LONG_AGO = 600.0


@dataclass(frozen=True, slots=True)
class Job:
    """The turn of one message. All strings, and so safe for any queue.

    Attributes:
        model: Of the message, such as ``"chat.Message"``.
        pk: Its primary key, as Django's serializers write it.
        using: The alias of its database.
        lane: Its record: the turns of one lane are run in order, one at a time.
        tenant: In whose context it is run; see `tenants`.
        uid: What tells its row from others of the same key.
    """

    model: str
    pk: str
    using: str
    lane: str
    tenant: str = ""
    uid: str = ""

    @classmethod
    def of(cls, message: models.Model, *, using: str | None = None) -> Job:
        """That of a message.

        Raises:
            RecordNotSavedError: It has no row yet.
            ConfigurationError: It has no turn columns, or no record.
            ImproperlyConfigured: Its tenant is unknown; see `current_tenant`.
        """
        _ = DjangoMessageStore(message).key
        pk = message._meta.pk.value_to_string(message)
        using = using or database_of(message)
        tenant = current_tenant(using)
        lane = f"{using}:{tenant}:{_record_key(message)}"
        return cls(message._meta.label, pk, using, lane, tenant, _uid_of(message))

    def rows(self) -> models.QuerySet[Any]:
        """The message's row."""
        model = apps.get_model(self.model)
        return all_rows(model, self.using).filter(pk=model._meta.pk.to_python(self.pk))

    def inside(self) -> AbstractContextManager[None]:
        """Inside, the rows of its tenant are in force in this thread."""
        return inside(self.tenant)

    def check(self, message: models.Model) -> None:
        """Refuse another row than the one that was enqueued.

        Raises:
            WrongRowError: It is another one.
        """
        if self.uid and _uid_of(message) != self.uid:
            raise WrongRowError(
                f"{self} is another row here than the one that was enqueued: this process reads another schema or "
                "database. Nothing is run; see docs/tenants.md",
                record=str(self),
            )

    def __str__(self) -> str:
        return f"{self.model} {self.pk}" + (f" of tenant {self.tenant}" if self.tenant else "")


def undertake(job: Job, seconds: float) -> None:
    """Write into the row, as part of the caller's transaction, that its turn is going to be run, and its place.

    A turn that has a place among those of its record keeps it; another one comes last. Of two transactions that are
    open at once, both may give the same place.

    Args:
        job: Whose.
        seconds: For how long that is to be believed; after that the turn counts as `abandoned`.
    """
    pending = job.rows().filter(status=TurnStatus.PENDING.value)
    values = {"opencode_turn_lease": Moment(seconds)}
    model = apps.get_model(job.model)
    field = record_field_of(model)
    if field is not None:
        record = job.rows().values(field.attname)[:1]
        turns = all_rows(model, job.using).filter(**{field.attname: record})
        last = turns.aggregate(last=Max("opencode_turn_order"))["last"] or 0
        # In one statement: without a place, it would come before all others in the eyes of who looks in between.
        if pending.filter(opencode_turn_order=0).update(opencode_turn_order=last + 1, **values):
            return
    pending.update(**values)


def keep(jobs: Iterable[Job], seconds: float) -> None:
    """Extend the leases of those that have not begun, and were neither given up nor parked: one query for many.

    Args:
        jobs: Some may have begun meanwhile.
        seconds: See `undertake`.
    """
    by_table: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for job in jobs:
        by_table[job.model, job.using, job.tenant].append(job.pk)
    for (label, using, tenant), keys in by_table.items():
        with inside(tenant):
            _keep(label, using, keys, seconds)


def _keep(label: str, using: str, keys: list[str], seconds: float) -> None:
    model = apps.get_model(label)
    for some in range(0, len(keys), _AT_ONCE):
        pks = [model._meta.pk.to_python(key) for key in keys[some : some + _AT_ONCE]]
        rows = all_rows(model, using).filter(pk__in=pks, status=TurnStatus.PENDING.value)
        rows.filter(opencode_turn_lease__gt=Moment()).update(opencode_turn_lease=Moment(seconds))


def give_up(jobs: Iterable[Job]) -> None:
    """Of turns that were undertaken and nobody runs: whoever finds them may run them from now on."""
    undertaken = Q(status=TurnStatus.PENDING.value) | Q(
        status=TurnStatus.STREAMING.value, opencode_turn_parked=True
    )
    for job in jobs:
        with job.inside():
            job.rows().filter(undertaken, opencode_turn_lease__isnull=False).update(
                opencode_turn_lease=Moment(
                    -_LONG_AGO
                )  # before the time of a `keep` that waits for its turn to write
            )


def abandoned_jobs(model: type[models.Model], using: str, seconds: float, *, limit: int) -> Iterator[Job]:
    """The abandoned turns of a model in one database, oldest first, and those that are parked and wait for nothing.

    Those that had not begun are undertaken first.

    Of several processes that look at once, one undertakes such a turn. One that had begun is given to all: who
    takes it from the others is decided when it is run.
    """
    found = all_rows(model, using).filter(abandoned()).order_by("pk")
    for message in [*found[:limit], *next_parked(model, using)[:limit]]:
        if database_of(message) != using:
            continue  # a replica: it comes from where it is written, too
        try:
            job = Job.of(message, using=using)
        except Exception:  # noqa: BLE001 - the host's property: the others are not to wait for that one
            _log.exception("the turn of %s %s was left behind, and cannot be run", model.__name__, message.pk)
            continue
        if getattr(message, "status", None) == TurnStatus.PENDING.value:
            taken = job.rows().filter(abandoned() | behind_another(), status=TurnStatus.PENDING.value)
            if not taken.update(opencode_turn_lease=Moment(seconds)):
                continue
        yield job


def next_parked(model: type[models.Model], using: str) -> models.QuerySet[Any]:
    """The turns that are parked behind another one of their record, of which none runs any more; in their order."""
    rows = all_rows(model, using)
    field = record_field_of(model)
    if field is None:
        return rows.none()
    others = rows.filter(status=TurnStatus.STREAMING.value, **{field.attname: OuterRef(field.attname)})
    return rows.filter(behind_another()).filter(~Exists(others)).order_by("opencode_turn_order", "pk")


def ahead_of(job: Job, message: models.Model) -> tuple[Job, bool] | None:
    """What is to be run before a turn of the same record that has not begun. One query.

    That is one that has begun; else the first of those that were enqueued before it, whoever undertook to run them:
    any process may. Of the same place, the lesser key comes first.

    Args:
        job: The turn that has not begun.
        message: Its row.

    Returns:
        Its job, and whether somebody runs it now. None where there is none, or no foreign key says whose turns they
        are.
    """
    model = type(message)
    field = record_field_of(model)
    if field is None:
        return None
    place = message.opencode_turn_order  # type: ignore[attr-defined]  # MessageModel
    earlier = Q(opencode_turn_order__lt=place) | Q(opencode_turn_order=place, pk__lt=message.pk)
    enqueued = Q(status=TurnStatus.PENDING.value) & (Q(opencode_turn_lease__isnull=False) | behind_another())
    before = Q(status=TurnStatus.STREAMING.value) | enqueued & earlier
    rows = all_rows(model, job.using)
    found: Any = (
        rows.filter(before, **{field.attname: getattr(message, field.attname)})
        .only("status", "opencode_uid")
        .annotate(opencode_runs=models.ExpressionWrapper(being_run(), output_field=models.BooleanField()))
        .order_by("-status", "opencode_turn_order", "pk")  # "streaming" comes after "pending"
        .first()
    )
    if found is None or found.pk == message.pk:  # it has begun elsewhere, since it was read
        return None
    runs = bool(found.opencode_runs)
    return replace(job, pk=model._meta.pk.value_to_string(found), uid=_uid_of(found)), runs


def _uid_of(message: models.Model) -> str:
    return getattr(message, UID, None) or ""


def _record_key(message: models.Model) -> str:
    """What names its record; without a query, where a foreign key says it."""
    field = record_field_of(type(message))
    if field is not None:
        return f"{field.related_model._meta.label}:{getattr(message, field.attname)}"
    record = record_of(message)
    return f"{record._meta.label}:{record.pk}"


def record_field_of(model: type[models.Model]) -> models.ForeignKey[Any, Any] | None:
    """The foreign key that says whose turns they are; None where a property of the host's does."""
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - not before the apps are there

    if getattr(model, "opencode_record", None) is MessageModel.opencode_record:
        return record_field(model)
    return None
