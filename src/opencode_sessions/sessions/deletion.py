"""Removing a session from the server: it is stopped first, as deleting a busy one would not stop its agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opencode_sessions.reporting import ErrorContext, ErrorReporter, OnError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.sessions.servers import Servers
from opencode_sessions.wire.clients import Client, blocking_wire

__all__ = ["AnyClient", "SessionDeleter", "remove"]


async def remove(wire: SessionWire, session_id: str) -> Sequence[Exception]:
    """Stop a session and delete it, with the sessions of its sub-agents. Without such a session, nothing happens.

    Returns:
        Errors of asks that could not be rejected, for a report. The agents are stopped nevertheless.

    Raises:
        WireError: The session could not be stopped, and so was not deleted, or could not be deleted.
    """
    unrejected = await wire.stop(session_id)
    await wire.delete(session_id)
    return unrejected


AnyClient = Client | Servers[Client] | Callable[[], Client | Servers[Client]]
"""The client that removes sessions, or a function that returns it."""


class SessionDeleter:
    """Removes the sessions of deleted rows, best effort. It blocks, and never raises.

    Args:
        client: The server's client, or several `Servers`; or a function that returns either when it is needed.
        on_error: Called as `on_error(error, context)`.

    Raises:
        ConfigurationError: The client is one of `opencode_sessions.aio`.
    """

    def __init__(self, client: AnyClient, on_error: OnError | None) -> None:
        if not callable(client):
            for each in client.values() if isinstance(client, Servers) else [client]:
                blocking_wire(each)
        self._client = client
        self._report = ErrorReporter(on_error)

    def __call__(self, record: str, session_id: str, server: str | None = None) -> None:
        """Remove the session that the row with this key named, on the server that the row named."""
        try:
            client = self._client() if callable(self._client) else self._client
            if isinstance(client, Servers):
                client = client.named(server, session_id, record)
            for error in run_sync(remove(blocking_wire(client), session_id)):
                self._report(error, ErrorContext("reject_asks", record, session_id))
        except Exception as error:  # noqa: BLE001 - the row is gone already: it is reported, not raised
            self.refuse(record, session_id, error)

    def refuse(self, record: str, session_id: str, error: Exception) -> None:
        """Report that a session was not removed, and why."""
        self._report(error, ErrorContext("delete_with_row", record, session_id))
