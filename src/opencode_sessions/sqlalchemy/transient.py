"""Recognize errors of a database that a retry can overcome, and errors that a value causes."""

from __future__ import annotations

import socket

from sqlalchemy import exc as errors

__all__ = ["is_of_a_value", "is_transient"]

_OURS = (errors.IntegrityError, errors.ProgrammingError, errors.DataError, errors.NotSupportedError)
"""Errors of a statement that would fail again."""

_AWAY = (ConnectionError, TimeoutError, socket.gaierror, errors.TimeoutError, errors.DisconnectionError)
"""Other errors of a lost connection: asyncio's drivers raise the system's own errors while they connect."""


def is_transient(error: Exception) -> bool:
    """See `TurnTable.is_transient`."""
    if isinstance(error, errors.DBAPIError):
        return error.connection_invalidated or not isinstance(error, _OURS)
    return isinstance(error, _AWAY)


def is_of_a_value(error: Exception) -> bool:
    """Does the error come from a value that the database or its driver cannot compare, such as a too large number?"""
    if isinstance(error, errors.DBAPIError):
        kinds = (
            errors.DBAPIError,
            errors.DataError,
            errors.InterfaceError,
        )  # asyncpg has no class of its own for errors of arguments
        return type(error) in kinds and not error.connection_invalidated
    return isinstance(error, OverflowError | UnicodeEncodeError)
