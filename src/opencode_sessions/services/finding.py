"""Which store a row is reached through: its own, from `__opencode_store__(asynchronous=…)`, or one given."""

from __future__ import annotations

from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.records import RecordStore

__all__ = ["message_store", "record_store"]


def record_store(record: Any, store: RecordStore | None, *, asynchronous: bool) -> RecordStore:
    """The store given, else the record's own.

    Raises:
        ConfigurationError: There is neither.
    """
    if store is not None:
        return store
    found: RecordStore = _own_store(
        record, "session", "RecordMixin", "RecordModel", asynchronous=asynchronous
    )
    return found


def message_store(message: Any, store: MessageStore | None, *, asynchronous: bool) -> MessageStore:
    """The store given, else the message's own.

    Raises:
        ConfigurationError: There is neither.
    """
    if store is not None:
        return store
    found: MessageStore = _own_store(
        message, "turn", "MessageMixin", "MessageModel", asynchronous=asynchronous
    )
    return found


def _own_store(row: Any, what: str, mixin: str, model: str, *, asynchronous: bool) -> Any:
    make = getattr(row, "__opencode_store__", None)
    if make is None:
        raise ConfigurationError(
            f"{type(row).__name__} has no {what} columns: let its model inherit from "
            f"opencode_sessions.sqlalchemy.{mixin} or opencode_sessions.django.models.{model}, or pass store="
        )
    return make(asynchronous=asynchronous)
