"""Which errors of a database are over when it is back, so that trying again helps."""

from __future__ import annotations

import socket

from sqlalchemy import exc as errors

__all__ = ["is_transient"]

_OURS = (errors.IntegrityError, errors.ProgrammingError, errors.DataError, errors.NotSupportedError)
"""What the database says of a statement that it will not take at the next try, either."""

_AWAY = (ConnectionError, TimeoutError, socket.gaierror, errors.TimeoutError, errors.DisconnectionError)
"""What else says that there is no connection: asyncio's drivers raise the system's own errors while they connect."""


def is_transient(error: Exception) -> bool:
    """See `TurnTable.is_transient`."""
    if isinstance(error, errors.DBAPIError):
        return error.connection_invalidated or not isinstance(error, _OURS)
    return isinstance(error, _AWAY)
