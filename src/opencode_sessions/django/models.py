"""The abstract models that give a model its columns and a store."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models.signals import class_prepared
from django.dispatch import receiver

from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.django.registry import record_field
from opencode_sessions.files.uploads import Upload
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.origin import new_trace
from opencode_sessions.store.queue import TurnQueue
from opencode_sessions.store.record_columns import new_uid

__all__ = ["MessageModel", "RecordModel"]


class RecordModel(models.Model):
    """The six columns of a record: a row that owns one OpenCode session.

    The session gets the record's `title`. If the model has none, define a property `opencode_title`.

    Attributes:
        opencode_uid: Tells the row from rows with the same key in other schemas and databases.
        opencode_session_id: The session's id; None before there is one.
        opencode_session_ready_at: When the session's rules came into force; None before that.
        opencode_session_digest: A digest of the title, rules and directory in force; `deleting` while the session is
            being deleted.
        opencode_turn: The record's lock: the turn that runs in the session, and when its lock expires.
        opencode_server: The name of the session's server; None if there was never more than one.
    """

    opencode_uid: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 - null in old rows
        max_length=32, default=new_uid, null=True, blank=True, editable=False
    )
    opencode_session_id: models.CharField[str | None, str | None] = models.CharField(
        max_length=64, unique=True, null=True, blank=True, editable=False
    )
    opencode_session_ready_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, editable=False
    )
    opencode_session_digest: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 - null, as
        max_length=64,
        null=True,
        blank=True,
        editable=False,  # the other two are where there is no session
    )
    opencode_turn: models.TextField[str | None, str | None] = models.TextField(  # noqa: DJ001 - null, likewise
        null=True, blank=True, editable=False
    )
    opencode_server: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 - null, likewise
        max_length=64, null=True, blank=True, editable=False
    )

    class Meta:  # noqa: D106 - Django's own
        abstract = True

    def __opencode_store__(self, *, asynchronous: bool) -> DjangoRecordStore:
        return DjangoRecordStore(self, asynchronous=asynchronous)


class MessageModel(models.Model):
    """The columns of a message: a row that stores one prompt and its answer.

    Attributes:
        opencode_uid: As in a record.
        prompt: The prompt: set it before the turn.
        opencode_uploads: The files sent with it, as `Uploads.save` returns them: set it before the turn.
        status: A `TurnStatus`, from `pending` on.
        opencode_prompt_id: The id of the prompt in the session, from the start of the turn on.
        opencode_prompt_session_id: That session.
        opencode_turn_epoch: Raised by each runner that starts the turn, and by a cancel.
        opencode_turn_lease: When the lease of its runner or queue expires.
        opencode_turn_order: The place among the turns of its record, from 1 on, given by `enqueue`; 0 before that.
        opencode_turn_parked: Nothing runs: a turn that has begun waits for a person, another one for a limit.
        content: The answer's text.
        parts: The answer's parts, in order.
        asks: Permissions and questions that wait for a person.
        error: Why the turn did not complete; None if it did.
        cost: US dollars, by the server's prices.
        input_tokens: Tokens that the model read.
        output_tokens: Tokens that the model wrote.
        revision: Raised by every write of the answer.
        opencode_trace: The span in which the message was made, as a W3C `traceparent`; None without one.
        enqueued_at: When the turn was enqueued.
        started_at: When the turn was first started.
        finished_at: When its end was stored.
    """

    opencode_uid: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 - null in old rows
        max_length=32, default=new_uid, null=True, blank=True, editable=False
    )
    prompt: models.TextField[str, str] = models.TextField()
    opencode_uploads: models.JSONField[list[Upload], list[Upload]] = models.JSONField(
        default=list, blank=True, editable=False
    )
    status: models.CharField[str, str] = models.CharField(
        max_length=16,
        choices=[(status.value, status.value) for status in TurnStatus],
        default=TurnStatus.PENDING.value,
        db_index=True,
        editable=False,
    )
    opencode_prompt_id: models.CharField[str | None, str | None] = models.CharField(
        max_length=64, unique=True, null=True, blank=True, editable=False
    )
    opencode_prompt_session_id: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 - null
        max_length=64,
        null=True,
        blank=True,
        editable=False,  # until there is one, as the prompt's id
    )
    opencode_turn_epoch: models.IntegerField[int, int] = models.IntegerField(default=0, editable=False)
    opencode_turn_lease: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, editable=False, db_index=True
    )
    opencode_turn_order: models.IntegerField[int, int] = models.IntegerField(default=0, editable=False)
    opencode_turn_parked: models.BooleanField[bool, bool] = models.BooleanField(default=False, editable=False)
    content: models.TextField[str, str] = models.TextField(default="", blank=True)
    parts: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list, blank=True
    )
    asks: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list, blank=True, editable=False
    )
    error: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(
        null=True, blank=True
    )
    cost: models.FloatField[float, float] = models.FloatField(default=0.0)
    input_tokens: models.IntegerField[int, int] = models.IntegerField(default=0)
    output_tokens: models.IntegerField[int, int] = models.IntegerField(default=0)
    revision: models.IntegerField[int, int] = models.IntegerField(default=0, editable=False)
    opencode_trace: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 - null without a span
        max_length=55, default=new_trace, null=True, blank=True, editable=False
    )
    enqueued_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, editable=False
    )
    started_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, editable=False
    )
    finished_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, editable=False
    )

    class Meta:  # noqa: D106 - Django's own
        abstract = True
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=models.Q(status__in=[status.value for status in TurnStatus]),
                name="%(app_label)s_%(class)s_turn_status",
            )
        ]

    def __opencode_store__(self, *, asynchronous: bool) -> DjangoMessageStore:
        return DjangoMessageStore(self, asynchronous=asynchronous)

    def __opencode_queue__(self, *, asynchronous: bool) -> TurnQueue:
        from opencode_sessions.django.queue import DjangoQueue  # noqa: PLC0415 - not before the apps are there

        return DjangoQueue(self, asynchronous=asynchronous)

    @property
    def opencode_record(self) -> models.Model:
        """The record of the turn, from the message's one foreign key to a record. Override it if there is another way.

        Raises:
            ConfigurationError: There is no such key, or there are several.
        """
        record: models.Model = getattr(self, record_field(type(self)).name)
        return record


@receiver(class_prepared)
def _drop_from_child(sender: type[models.Model], **_: Any) -> None:
    """Remove the constraint from a child with a table of its own: it inherits this Meta, but not the column."""
    if not issubclass(sender, MessageModel) or sender._meta.abstract:
        return
    if all(field.name != "status" for field in sender._meta.local_fields):
        ours = f"{sender._meta.app_label}_{sender.__name__}_turn_status".lower()
        sender._meta.constraints = [each for each in sender._meta.constraints if each.name != ours]
