"""Which errors of a database are over when it is back, so that trying again helps, and which are a value's."""

from __future__ import annotations

import socket

from sqlalchemy import exc as errors

__all__ = ["is_of_a_value", "is_transient"]

_OURS = (errors.IntegrityError, errors.ProgrammingError, errors.DataError, errors.NotSupportedError)
"""What the database says of a statement that it will not take at the next try, either."""

_AWAY = (ConnectionError, TimeoutError, socket.gaierror, errors.TimeoutError, errors.DisconnectionError)
"""What else says that there is no connection: asyncio's drivers raise the system's own errors while they connect."""


def is_transient(error: Exception) -> bool:
    """See `TurnTable.is_transient`."""
    if isinstance(error, errors.DBAPIError):
        return error.connection_invalidated or not isinstance(error, _OURS)
    return isinstance(error, _AWAY)


def is_of_a_value(error: Exception) -> bool:
    """Is a value one that the database, or its driver, cannot even compare: a number too large, half a text?"""
    if isinstance(error, errors.DBAPIError):
        kinds = (
            errors.DBAPIError,
            errors.DataError,
            errors.InterfaceError,
        )  # asyncpg's of its arguments has no own
        return type(error) in kinds and not error.connection_invalidated
    return isinstance(error, OverflowError | UnicodeEncodeError)
