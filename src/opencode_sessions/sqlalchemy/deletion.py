"""Deleting a session along with its row, when the ORM deletes that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, inspect, select
from sqlalchemy.orm import object_session

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.reporting import OnError
from opencode_sessions.sessions.deletion import AnyClient, SessionDeleter
from opencode_sessions.sqlalchemy.deleting import with_row
from opencode_sessions.sqlalchemy.tables import MappedTable
from opencode_sessions.store.record_columns import SERVER

__all__ = ["delete_session_with_row"]

_NAME = "opencode_session_id"


def delete_session_with_row(
    model: type[Any], client: AnyClient, *, on_error: OnError | None = None
) -> Callable[[], None]:
    """From now on, when an ORM session deletes a row of this model, stop and delete the row's OpenCode session too.

    It happens after the commit, in the thread that commits and before `commit()` returns, one row after the other. If
    the transaction or its savepoint is rolled back, nothing happens. It is best effort: errors go to `on_error`, and
    `prune` finds the sessions that were left.

    The ORM must delete the row itself: by `session.delete()`, or by a cascade of its own. A bulk `delete()` statement
    and a cascade of the database (`passive_deletes`) send no event; `prune` finds their sessions, too. With an
    `AsyncSession`, a wait would stop the event loop, so nothing is deleted: `await Session(row).delete(client)` before
    you delete the row. If you did not, `on_error` gets an error.

    Call it once for a model, where your models are made.

    Args:
        model: The mapped class, including the classes that inherit from it.
        client: The server's client, or several `Servers`; or a function that returns either when it is needed.
        on_error: Called as `on_error(error, context)`. Without it, errors are logged.

    Returns:
        A function that ends it.

    Raises:
        ConfigurationError: The model has no session columns, or the client is one for asyncio.
    """
    named = SERVER in inspect(model).attrs
    table = MappedTable.of(model, [_NAME, SERVER] if named else [_NAME])
    remover = SessionDeleter(client, on_error)

    def act_for(connection: Connection, target: object) -> Callable[[], None] | None:
        identity = inspect(target).identity
        names = _locked(table, connection, identity)
        if object_session(target) is None or names is None or names[0] is None:
            return None
        if connection.dialect.is_async:
            return partial(remover.refuse, table.key(identity), names[0], _asynchronous())
        return partial(remover, table.key(identity), *names)

    return with_row(model, act_for)


def _locked(table: MappedTable, connection: Connection, identity: tuple[Any, ...]) -> Row[Any] | None:
    """The session that the row names, locked by the deleting transaction until its end."""
    is_it = [column == value for column, value in zip(table.primary_key, identity, strict=True)]
    return connection.execute(select(*table.columns.values()).where(*is_it).with_for_update()).one_or_none()


def _asynchronous() -> ConfigurationError:
    return ConfigurationError(
        "the row was deleted through an AsyncSession, where deleting its OpenCode session would stop the event loop: "
        "await Session(row).delete(client), of opencode_sessions.aio, before you delete the row. This one is left to "
        "prune"
    )
