"""Retrying a turn that failed or was cancelled: a new message with the same prompt, made only once.

The terminal state of a message is final. So the retry is a row of its own, and the `error` of the old row names it as
`retried_as`.
"""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, models, transaction
from django.db.models import F

from opencode_sessions.django.conf import settings
from opencode_sessions.django.host import enqueue
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.rows import all_rows, database_of
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.validation import not_awaitable

__all__ = ["RETRIED_AS", "copy_of", "retry_of"]

RETRIED_AS = "retried_as"
"""In the `error` of a message: the key of the message that retries it."""

_ENDED_BADLY = (TurnStatus.FAILED.value, TurnStatus.CANCELLED.value)


def retry_of(message: models.Model) -> models.Model | None:
    """The message that retries this one, made and enqueued if there is none.

    `OPENCODE["RETRY"]` or `copy_of` makes it, in a transaction without network calls.

    Returns:
        None if this one did not fail, and was not cancelled.

    Raises:
        ImproperlyConfigured: The message cannot be made; the error says what to do.
    """
    using = database_of(message)
    rows = all_rows(type(message), using)
    with transaction.atomic(using=using):
        # A write first, so that the second of two clicks waits here. The new epoch refuses late writes of the old turn.
        ours = rows.filter(pk=message.pk, status__in=_ENDED_BADLY)
        if not ours.update(opencode_turn_epoch=F("opencode_turn_epoch") + 1, revision=F("revision") + 1):
            return None
        old = rows.get(pk=message.pk)
        stored: Any = old
        error = stored.error if isinstance(stored.error, Mapping) else {}
        known: models.Model | None = (
            rows.filter(pk=error[RETRIED_AS]).first() if RETRIED_AS in error else None
        )
        if known is not None:
            return known
        made = _made(old)
        ours.update(error={**error, RETRIED_AS: made._meta.pk.value_to_string(made)})
        enqueue(made)
        return made


def copy_of(message: models.Model) -> models.Model:
    """A new unsaved message with the same prompt and the host's fields, without the key and the answer.

    Times and unique fields get their defaults. Many-to-many relations are not copied.
    """
    copied: dict[str, Any] = {"prompt": message.prompt}  # type: ignore[attr-defined]  # MessageModel
    for field in message._meta.concrete_fields:
        moment = isinstance(field, models.DateField) and (field.has_default() or not field.editable)
        if not (field.primary_key or field.unique or moment or field.name in DjangoMessageStore.columns):
            copied[field.attname] = getattr(message, field.attname)
    return type(message)(**copied)


def _made(old: models.Model) -> models.Model:
    hook = settings().retry
    try:
        made = copy_of(old) if hook is None else not_awaitable('OPENCODE["RETRY"]', hook(old))
        if isinstance(made, models.Model) and made._state.adding:
            with transaction.atomic(using=database_of(old)):
                made.save(using=database_of(old))
    except IntegrityError as error:
        raise ImproperlyConfigured(
            f"{type(old).__name__} cannot be copied to be tried again ({error}): name a function in "
            'OPENCODE["RETRY"] that takes the message and returns a new one with its prompt'
        ) from error
    if not isinstance(made, type(old)) or made.pk == old.pk:
        raise ImproperlyConfigured(
            f'OPENCODE["RETRY"] must return a new {type(old).__name__}, not {made!r}: the old one keeps its end'
        )
    _take_uploads(made, old)
    return made


def _take_uploads(made: models.Model, old: models.Model) -> None:
    """Copy the uploads of the old message, if the host's function left them out."""
    sent = getattr(old, "opencode_uploads", None)
    if sent and not made.opencode_uploads:  # type: ignore[attr-defined]  # MessageModel
        made.opencode_uploads = sent  # type: ignore[attr-defined]  # likewise
        made.save(using=database_of(old), update_fields=["opencode_uploads"])
