"""Which turns their runners left behind, for a query of the host's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.store.messages import TurnStatus

__all__ = ["abandoned"]


def abandoned(model: type[Any]) -> ColumnElement[bool]:
    """Of a message's model, the condition that nobody runs its turn any more: streaming, and the lease has run out.

    ::

        for message in db.scalars(select(Message).where(abandoned(Message))): …

    Raises:
        ConfigurationError: The model has no turn columns.
    """
    columns = MappedTable.of(model, ("status", "opencode_turn_lease")).columns
    lease = columns["opencode_turn_lease"]
    return and_(
        columns["status"] == TurnStatus.STREAMING.value, or_(lease.is_(None), lease <= datetime.now(UTC))
    )
