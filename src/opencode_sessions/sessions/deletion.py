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
    """Stop a session and delete it, with those of its sub-agents. One that is not there is nothing to do.

    Returns:
        What kept asks from being rejected, though the agents are stopped: to be reported.

    Raises:
        WireError: It could not be stopped, and so was not deleted, or it could not be deleted.
    """
    unrejected = await wire.stop(session_id)
    await wire.delete(session_id)
    return unrejected


AnyClient = Client | Servers[Client] | Callable[[], Client | Servers[Client]]
"""What a session is removed by."""


class SessionDeleter:
    """Removes sessions of rows that are gone, best effort: it blocks, and never raises.

    Args:
        client: The server's client, or several `Servers`; or a function that gives either when it is needed.
        on_error: What is told of what went wrong.

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
        """Remove the session that the row of this key named, on the server that it named."""
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
