"""The store of a row: the one given, or the row's own, from `__opencode_store__(asynchronous=…)`.

The queue that runs its turns in the background is found likewise, from `__opencode_queue__`, if there is one.
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.queue import NoQueue, TurnQueue
from opencode_sessions.store.records import RecordStore
from opencode_sessions.validation import require

__all__ = ["message_store", "queue_of", "record_store"]


def record_store(record: Any, store: RecordStore | None, *, asynchronous: bool) -> RecordStore:
    """The store given, else the record's own.

    Raises:
        ConfigurationError: There is neither, or it is not a record's store.
    """
    names = ("record", "session", "RecordMixin", "RecordModel")
    found: RecordStore = _own_store(record, *names, asynchronous=asynchronous) if store is None else store
    rule = "Session takes the record, whose model has the session columns"
    require(hasattr(found, "reserve"), rule, record if store is None else store)
    return found


def message_store(message: Any, store: MessageStore | None, *, asynchronous: bool) -> MessageStore:
    """The store given, else the message's own.

    Raises:
        ConfigurationError: There is neither, or it is not a message's store.
    """
    names = ("message", "turn", "MessageMixin", "MessageModel")
    found: MessageStore = _own_store(message, *names, asynchronous=asynchronous) if store is None else store
    rule = "Turn takes the message, whose model has the turn columns"
    require(hasattr(found, "take"), rule, message if store is None else store)
    return found


def queue_of(message: Any, queue: TurnQueue | None, *, asynchronous: bool) -> TurnQueue:
    """The queue given, else the message's own, if it has one."""
    make = getattr(message, "__opencode_queue__", None)
    if queue is not None or make is None:
        return queue or NoQueue()
    found: TurnQueue = make(asynchronous=asynchronous)
    return found


def _own_store(row: Any, name: str, what: str, mixin: str, model: str, *, asynchronous: bool) -> Any:
    require(not isinstance(row, type), f"{name} must be a row, an object of a model's", row)
    make = getattr(row, "__opencode_store__", None)
    if make is None:
        raise ConfigurationError(
            f"{type(row).__name__} has no {what} columns: let its model inherit from "
            f"opencode_sessions.sqlalchemy.{mixin} or opencode_sessions.django.models.{model}, or pass store="
        )
    return make(asynchronous=asynchronous)
