"""Conditions for queries of your own: turns that run, that wait, or that are abandoned.

A lease holds until a time of the database's clock. While a turn is streaming, its runner renews the lease. While a turn
is pending, the process that will run it renews the lease (see `SQLAlchemyTurnTable.reserve` and `set_pending_lease`). A
pending turn without a lease is a draft; if it has a place among its record's turns, it is parked behind another one. A
parked turn with a lease waits, at most until the lease expires: a streaming turn for a person, a pending turn for a
place under a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, or_

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy.clock import is_past, moment
from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.store.messages import TurnStatus

__all__ = [
    "LEASE_COLUMNS",
    "abandoned",
    "being_run",
    "is_abandoned",
    "is_behind",
    "is_parked",
    "is_run",
    "parked",
    "set_pending_lease",
    "waiting_for_answer",
]

LEASE_COLUMNS = ("status", "opencode_turn_lease", "opencode_turn_order", "opencode_turn_parked", "asks")

_Columns = Mapping[str, ColumnElement[Any]]


def abandoned(model: type[Any]) -> ColumnElement[bool]:
    """The condition that a message's turn is abandoned: its lease has expired.

    ::

        for message in db.scalars(select(Message).where(abandoned(Message))): …

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    return is_abandoned(_columns_of(model))


def being_run(model: type[Any]) -> ColumnElement[bool]:
    """The condition that a message's turn runs now.

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    return is_run(_columns_of(model))


def parked(model: type[Any]) -> ColumnElement[bool]:
    """The condition that a message's turn is parked: it waits for a person, another turn or a limit.

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    return is_parked(_columns_of(model))


def waiting_for_answer(model: type[Any]) -> ColumnElement[bool]:
    """The condition that the agent of a message's turn waits for a person.

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    return is_asking(_columns_of(model))


def set_pending_lease(message: Any, seconds: float = 60.0) -> None:
    """Reserve a message's turn in the caller's own transaction, for a host with a queue of its own.

    Call it for the message that you add to the ORM session, and commit. If the process then dies before the turn has
    begun, `abandoned` finds the row. The call makes no query; the database computes the time when the row is flushed.
    The turn gets no place among its record's turns. With a `SQLAlchemyTurnTable`, await `reserve` instead, which writes
    both.

    ::

        message = Message(prompt=prompt, conversation=conversation)
        set_pending_lease(message)
        db.add(message)
        db.commit()

    Args:
        message: A new message, or one that is loaded and pending.
        seconds: How long the turn may wait before recovery treats it as abandoned.

    Raises:
        ConfigurationError: The model has no turn columns, or the turn has begun.
    """
    columns = _columns_of(type(message))
    status = vars(message).get("status")
    if status not in (None, TurnStatus.PENDING):
        raise ConfigurationError(f"only a pending turn can wait to be run, and this one is {status}")
    message.opencode_turn_lease = moment(columns["opencode_turn_lease"], seconds)


def is_abandoned(columns: _Columns) -> ColumnElement[bool]:
    """See `abandoned`; for these columns."""
    lease: Any = columns["opencode_turn_lease"]
    return or_(and_(_streaming(columns), is_past(lease)), and_(_pending(columns), lease <= moment(lease)))


def is_asking(columns: _Columns) -> ColumnElement[bool]:
    """See `waiting_for_answer`; for these columns."""
    # As text: PostgreSQL compares no values of the type json.
    return and_(_streaming(columns), cast(columns["asks"], Text()) != "[]")


def is_run(columns: _Columns) -> ColumnElement[bool]:
    """See `being_run`; for these columns."""
    lease: Any = columns["opencode_turn_lease"]
    return and_(_streaming(columns), lease > moment(lease), columns["opencode_turn_parked"].is_(False))


def is_parked(columns: _Columns) -> ColumnElement[bool]:
    """See `parked`; for these columns."""
    lease: Any = columns["opencode_turn_lease"]
    waits = and_(_streaming(columns), lease > moment(lease), columns["opencode_turn_parked"].is_(True))
    return or_(waits, is_waiting_for_place(columns), is_behind(columns))


def is_waiting_for_place(columns: _Columns) -> ColumnElement[bool]:
    """The condition that a turn is parked until a limit allows it: it has not begun."""
    lease: Any = columns["opencode_turn_lease"]
    return and_(_pending(columns), lease > moment(lease), columns["opencode_turn_parked"].is_(True))


def is_behind(columns: _Columns) -> ColumnElement[bool]:
    """The condition that a turn is parked behind another turn of its record: it has not begun."""
    return and_(
        _pending(columns), columns["opencode_turn_lease"].is_(None), columns["opencode_turn_order"] > 0
    )


def _pending(columns: _Columns) -> ColumnElement[bool]:
    return columns["status"] == TurnStatus.PENDING.value


def _streaming(columns: _Columns) -> ColumnElement[bool]:
    return columns["status"] == TurnStatus.STREAMING.value


def _columns_of(model: type[Any]) -> Any:
    return MappedTable.of(model, LEASE_COLUMNS).columns
