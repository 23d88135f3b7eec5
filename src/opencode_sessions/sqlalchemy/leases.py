"""Which turns run, wait, or were left behind: conditions for a query of the host's own.

A lease says, by the database's clock, until when somebody is taken to be alive who has the turn: of a streaming one its
runner, of a pending one whoever is going to run it (see `set_pending_lease`). A pending turn without a lease is
nobody's: a draft.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, or_

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sqlalchemy.clock import is_past, moment
from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.store.messages import TurnStatus

__all__ = ["abandoned", "being_run", "set_pending_lease", "waiting_for_answer"]


def abandoned(model: type[Any]) -> ColumnElement[bool]:
    """Of a message's model, the condition that nobody runs its turn, or is going to, any more: the lease has expired.

    ::

        for message in db.scalars(select(Message).where(abandoned(Message))): …

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    columns = _columns_of(model)
    lease = columns["opencode_turn_lease"]
    pending, streaming = (columns["status"] == each for each in (TurnStatus.PENDING, TurnStatus.STREAMING))
    return or_(and_(streaming, is_past(lease)), and_(pending, lease <= moment(lease)))


def being_run(model: type[Any]) -> ColumnElement[bool]:
    """Of a message's model, the condition that somebody runs its turn now.

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    columns = _columns_of(model)
    lease = columns["opencode_turn_lease"]
    running = and_(columns["status"] == TurnStatus.STREAMING, lease > moment(lease))
    return and_(running, columns["opencode_turn_parked"].is_(False))


def waiting_for_answer(model: type[Any]) -> ColumnElement[bool]:
    """Of a message's model, the condition that its agent waits for a person.

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    columns = _columns_of(model)
    # As text: PostgreSQL compares no values of the type json.
    return and_(columns["status"] == TurnStatus.STREAMING, cast(columns["asks"], Text()) != "[]")


def set_pending_lease(message: Any, seconds: float = 60.0) -> None:
    """Say in a message's row, as part of the caller's transaction, that its turn is going to be run.

    Call it for the message that you add to the ORM session, and commit: if the process then dies before the turn has
    begun, `abandoned` finds the row. It queries nothing; the database reckons the time when the row is flushed.

    ::

        message = Message(prompt=prompt, conversation=conversation)
        set_pending_lease(message)
        db.add(message)
        db.commit()

    Args:
        message: New, or loaded and pending.
        seconds: How long the turn may wait to be begun, before recovery takes it for abandoned.

    Raises:
        ConfigurationError: The model has no turn columns, or the turn has begun.
    """
    columns = _columns_of(type(message))
    status = vars(message).get("status")
    if status not in (None, TurnStatus.PENDING):
        raise ConfigurationError(f"only a pending turn can wait to be run, and this one is {status}")
    message.opencode_turn_lease = moment(columns["opencode_turn_lease"], seconds)


def _columns_of(model: type[Any]) -> Any:
    return MappedTable.of(model, ("status", "opencode_turn_lease", "opencode_turn_parked", "asks")).columns
