"""Retrying a turn that failed or was cancelled: a new message with the same prompt, made only once.

The terminal state of a message is final. So the retry is a row of its own, and the `error` of the old row names it as
`retried_as`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Date, DateTime, TypeDecorator, UniqueConstraint, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import set_attribute

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy.messages import SQLAlchemyMessageStore
from opencode_sessions.validation import not_awaitable

__all__ = ["RETRIED_AS", "copy_of", "new_message"]

_UPLOADS = "opencode_uploads"

RETRIED_AS = "retried_as"
"""In the `error` of a message: the primary key of the message that retries it, as text."""


def new_message(message: Any, make: Callable[[Any], Any] | None) -> Any:
    """The message that retries another one, not yet added to a session.

    Args:
        message: The old message.
        make: The host's function; None: `copy_of`.

    Raises:
        ConfigurationError: The function does not return a new message.
    """
    made = copy_of(message) if make is None else not_awaitable("retry", make(message))
    if not isinstance(made, type(message)) or made is message or not inspect(made).transient:
        raise ConfigurationError(
            f"retry must return a new {type(message).__name__}, not added to a session yet, and not {made!r}: the old "
            "one keeps its end"
        )
    if (sent := getattr(message, _UPLOADS, None)) and not getattr(made, _UPLOADS):
        set_attribute(made, _UPLOADS, sent)  # in a SQLModel class it need not be a field
    return made


def copy_of(message: Any) -> Any:
    """A new message with the same prompt and the host's columns, without the key and the answer.

    Times that have a default, and unique columns, get their defaults. Relationships are not copied.
    """
    mapper: Mapper[Any] = inspect(message).mapper
    made = mapper.class_manager.new_instance()  # without __init__, whose arguments are unknown
    factories = _factories(mapper.class_)
    for attribute in mapper.column_attrs:
        name, column = attribute.key, attribute.columns[0]
        if not isinstance(column, Column):
            continue
        if name == "prompt" or _is_copied(name, column, has_factory=name in factories):
            setattr(made, name, getattr(message, name))
        elif name in factories:
            setattr(made, name, factories[name]())
    return made


def _factories(model: type[Any]) -> dict[str, Callable[[], Any]]:
    """The defaults that only the __init__ of a dataclass sets, by name."""
    fields = dataclasses.fields(model) if dataclasses.is_dataclass(model) else ()
    return {
        each.name: each.default_factory for each in fields if each.default_factory is not dataclasses.MISSING
    }


def _is_copied(name: str, column: Column[Any], *, has_factory: bool) -> bool:
    if name in (*SQLAlchemyMessageStore.columns, _UPLOADS) or column.primary_key or _is_unique(column):
        return False
    has_default = (
        has_factory
        or column.default is not None
        or column.server_default is not None
        or column.onupdate is not None
    )
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return not (isinstance(kind, Date | DateTime) and has_default)


def _is_unique(column: Column[Any]) -> bool:
    constraints = (each for each in column.table.constraints if isinstance(each, UniqueConstraint))
    return bool(column.unique) or any([*each.columns] == [column] for each in constraints)
