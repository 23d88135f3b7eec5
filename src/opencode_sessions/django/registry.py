"""The models of this project with our columns, and the record of a message."""

# ruff: noqa: SLF001 - what Django documents for use on a model begins with an underscore

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router

from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.errors import ConfigurationError, RecordGoneError
from opencode_sessions.validation import not_awaitable

__all__ = [
    "has_columns",
    "message_models",
    "record_field",
    "record_models",
    "record_of",
    "served_model",
    "table_model",
]


def record_models() -> list[type[models.Model]]:
    """The models of the installed apps whose tables have the columns of a record."""
    return list(_with(DjangoRecordStore.columns))


def message_models() -> list[type[models.Model]]:
    """The models of the installed apps whose tables have the columns of a message."""
    return list(_with(DjangoMessageStore.columns))


def record_field(model: type[models.Model]) -> models.ForeignKey[Any, Any]:
    """The one foreign key of a message's model to a record.

    Raises:
        ConfigurationError: There is none, or several.
    """
    found = [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey)
        and isinstance(field.related_model, type)
        and has_columns(field.related_model, DjangoRecordStore.columns)
    ]
    if len(found) == 1:
        return found[0]
    several = f"several foreign keys to records ({', '.join(each.name for each in found)})"
    raise ConfigurationError(
        f"{model.__name__} has {several if found else 'no foreign key to a record'}: define a property "
        "opencode_record on it, which returns the record that its turns belong to"
    )


def record_of(message: models.Model) -> models.Model:
    """The record of a message's turn: its `opencode_record`. It may query.

    Raises:
        ConfigurationError: The message's model has no record.
        RecordGoneError: The message no longer has a record.
    """
    record = not_awaitable("opencode_record", getattr(message, "opencode_record", message))
    if record is None and message.pk is not None:
        key = DjangoMessageStore(message).key
        raise RecordGoneError(f"{key} has no record any more", record=key)
    if record is message or not isinstance(record, models.Model):
        raise ConfigurationError(
            f"{type(message).__name__}.opencode_record is {record!r}: it must be the record that the turn belongs to. "
            "Inherit from opencode_sessions.django.models.MessageModel, or define it"
        )
    return record


def served_model(label: str) -> type[models.Model] | None:
    """The message model with this label, such as `chat.message`, if the views serve its rows.

    The views serve a table through one model only. A proxy, a child, or an unmanaged model of the same table could have
    a manager of its own, which would show rows that the table's model hides.
    """
    found = message_models()
    managed = {_place(model) for model in found if model._meta.managed}
    for model in found:
        if model._meta.label_lower == label.lower():
            return model if model._meta.managed or _place(model) not in managed else None
    return None


def table_model(model: type[models.Model]) -> type[models.Model]:
    """The model whose own table has a message's columns; for a proxy or a child, its parent."""
    return model._meta.get_field(DjangoMessageStore.columns[0]).model


def has_columns(model: type[models.Model], columns: Sequence[str]) -> bool:
    """Does the model have all these fields, in any table?"""
    try:
        for name in columns:
            model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _place(model: type[models.Model]) -> tuple[str, str]:
    return router.db_for_write(model), model._meta.db_table


def _with(columns: Sequence[str]) -> Iterator[type[models.Model]]:
    for model in apps.get_models():
        if has_columns(model, columns) and model._meta.get_field(columns[0]).model is model:
            yield model
