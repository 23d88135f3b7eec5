"""A turn that is to be run, as it is handed from process to process: what names its message, and nothing else."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.utils import timezone

from opencode_sessions.django.leases import abandoned
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.registry import record_field, record_of
from opencode_sessions.django.rows import database_of
from opencode_sessions.store.messages import TurnStatus

__all__ = ["Job", "abandoned_jobs", "ahead_of", "give_up", "keep", "undertake"]

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
    """

    model: str
    pk: str
    using: str
    lane: str

    @classmethod
    def of(cls, message: models.Model, *, using: str | None = None) -> Job:
        """That of a message.

        Raises:
            RecordNotSavedError: It has no row yet.
            ConfigurationError: It has no turn columns, or no record.
        """
        _ = DjangoMessageStore(message).key
        pk = message._meta.pk.value_to_string(message)
        using = using or database_of(message)
        return cls(message._meta.label, pk, using, f"{using}:{_record_key(message)}")

    def rows(self) -> models.QuerySet[Any]:
        """The message's row."""
        model = apps.get_model(self.model)
        rows: models.QuerySet[Any] = model._base_manager.using(self.using)
        return rows.filter(pk=model._meta.pk.to_python(self.pk))

    def __str__(self) -> str:
        return f"{self.model} {self.pk}"


def undertake(job: Job, seconds: float) -> None:
    """Write into the row, as part of the caller's transaction, that its turn is going to be run.

    Args:
        job: Whose.
        seconds: For how long that is to be believed; after that the turn counts as `abandoned`.
    """
    job.rows().filter(status=TurnStatus.PENDING.value).update(opencode_turn_lease=_in(seconds))


def keep(jobs: Iterable[Job], seconds: float) -> None:
    """The promises still hold, of those that nobody has taken back: one query for many.

    Args:
        jobs: Some may have begun meanwhile.
        seconds: See `undertake`.
    """
    by_table: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for job in jobs:
        by_table[job.model, job.using].append(job.pk)
    for (label, using), keys in by_table.items():
        model = apps.get_model(label)
        for some in range(0, len(keys), _AT_ONCE):
            pks = [model._meta.pk.to_python(key) for key in keys[some : some + _AT_ONCE]]
            rows = model._base_manager.using(using).filter(pk__in=pks, status=TurnStatus.PENDING.value)
            kept = Q(opencode_turn_lease=None) | Q(opencode_turn_lease__gt=timezone.now())
            rows.filter(kept).update(opencode_turn_lease=_in(seconds))


def give_up(jobs: Iterable[Job]) -> None:
    """Of turns that were undertaken and have not begun: whoever finds them may run them from now on."""
    for job in jobs:
        job.rows().filter(status=TurnStatus.PENDING.value, opencode_turn_lease__isnull=False).update(
            opencode_turn_lease=_in(
                -_LONG_AGO
            )  # before the `now` of a `keep` that waits for its turn to write
        )


def abandoned_jobs(model: type[models.Model], using: str, seconds: float, *, limit: int) -> Iterator[Job]:
    """The abandoned turns of a model in one database, oldest first; those that had not begun are undertaken first.

    Of several processes that look at once, one undertakes such a turn. One that had begun is given to all: who
    takes it from the others is decided when it is run.
    """
    for message in model._base_manager.using(using).filter(abandoned()).order_by("pk")[:limit]:
        if database_of(message) != using:
            continue  # a replica: it comes from where it is written, too
        try:
            job = Job.of(message, using=using)
        except Exception:  # noqa: BLE001 - the host's property: the others are not to wait for that one
            _log.exception("the turn of %s %s was left behind, and cannot be run", model.__name__, message.pk)
            continue
        if getattr(message, "status", None) == TurnStatus.PENDING.value:
            taken = job.rows().filter(abandoned(), status=TurnStatus.PENDING.value)
            if not taken.update(opencode_turn_lease=_in(seconds)):
                continue
        yield job


def ahead_of(job: Job, message: models.Model) -> tuple[Job, bool] | None:
    """What is to be run before a turn of the same record that has not begun. One query.

    That is one that has begun; else, where keys ascend, the first of those that were enqueued before it. Whoever
    undertook to run it: any process may.

    Args:
        job: The turn that has not begun.
        message: Its row.

    Returns:
        Its job, and whether somebody runs it now. None where there is none, or no foreign key says whose turns they
        are.
    """
    model = type(message)
    field = _record_field(model)
    if field is None:
        return None
    before = Q(status=TurnStatus.STREAMING.value)
    if _ascends(model):
        before |= Q(status=TurnStatus.PENDING.value, opencode_turn_lease__isnull=False, pk__lt=message.pk)
    rows = model._base_manager.using(job.using).select_related(None)
    found: Any = (
        rows.filter(before, **{field.attname: getattr(message, field.attname)})
        .only("status", "opencode_turn_lease")
        .order_by("-status", "pk")  # "streaming" comes after "pending"
        .first()
    )
    if found is None or found.pk == message.pk:  # it has begun elsewhere, since it was read
        return None
    lease = found.opencode_turn_lease
    runs = found.status == TurnStatus.STREAMING.value and lease is not None and lease > timezone.now()
    return replace(job, pk=model._meta.pk.value_to_string(found)), runs


def _record_key(message: models.Model) -> str:
    """What names its record; without a query, where a foreign key says it."""
    field = _record_field(type(message))
    if field is not None:
        return f"{field.related_model._meta.label}:{getattr(message, field.attname)}"
    record = record_of(message)
    return f"{record._meta.label}:{record.pk}"


def _record_field(model: type[models.Model]) -> models.ForeignKey[Any, Any] | None:
    """The foreign key that says whose turns they are; None where a property of the host's does."""
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - not before the apps are there

    if getattr(model, "opencode_record", None) is MessageModel.opencode_record:
        return record_field(model)
    return None


def _ascends(model: type[models.Model]) -> bool:
    """Has a later row a greater key?"""
    key: Any = model._meta.pk
    while key.remote_field is not None and key.remote_field.parent_link:
        key = key.target_field
    return isinstance(key, models.IntegerField)


def _in(seconds: float) -> Any:
    return timezone.now() + timedelta(seconds=seconds)
