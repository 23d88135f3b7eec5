"""The errors of the communication with a server."""

from __future__ import annotations

from dataclasses import dataclass

from opencode_sessions.errors.base import OpencodeError

__all__ = [
    "BadRequestError",
    "ConflictError",
    "ConnectionLostError",
    "CredentialsRefusedError",
    "EventTooLargeError",
    "NotFoundError",
    "NotGuardedError",
    "NotOpencodeError",
    "RequestSummary",
    "RequestTimedOutError",
    "ResponseTooLargeError",
    "ServerError",
    "ServerUnreachableError",
    "SessionNotFoundError",
    "StaleSessionError",
    "StatusError",
    "StreamSilentError",
    "UnsupportedVersionError",
    "WireError",
]


@dataclass(frozen=True)
class RequestSummary:
    """A request, without credentials and without bodies."""

    method: str
    url: str

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class WireError(OpencodeError):
    """The communication with the server failed.

    Attributes:
        request: The request that failed, if it was one request.
        status: The HTTP status of the answer, if there was one.
        body: The answer's body, at most its first 2,000 characters, without our credentials.
    """

    def __init__(
        self,
        message: str,
        *,
        request: RequestSummary | None = None,
        status: int | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message)
        self.request = request
        self.status = status
        self.body = body


class ServerUnreachableError(WireError):
    """No connection could be made: the server received nothing. The message says why, and what to do.

    Attributes:
        refused: Nothing listens at the address. Otherwise its name does not resolve, its certificate is not accepted,
            it does not speak TLS, or it did not answer in time.
    """

    def __init__(self, message: str, *, request: RequestSummary | None = None, refused: bool = False) -> None:
        super().__init__(message, request=request)
        self.refused = refused


class RequestTimedOutError(WireError):
    """No answer came in time. It is unknown whether the server carried the request out."""


class ConnectionLostError(WireError):
    """The connection broke before the answer. It is unknown whether the server carried the request out."""


class StreamSilentError(WireError):
    """The event stream is open but silent: not even the heartbeat came, which is due every 10 s."""


class EventTooLargeError(WireError):
    """One event of the stream exceeds the limit."""


class ResponseTooLargeError(WireError):
    """The answer to one request exceeds the limit, after decompression. The rest of it was not read."""


class NotGuardedError(WireError):
    """The server accepted a session's permission rules, but does not show them in force.

    Attributes:
        session_id: The session, which must not be prompted.
    """

    def __init__(self, message: str, *, session_id: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class NotOpencodeError(WireError):
    """The answer is not from an OpenCode server, or the server does not have this route."""


class UnsupportedVersionError(NotOpencodeError):
    """The OpenCode server has a version or line that this library does not support.

    Attributes:
        found: The version that the server reports.
    """

    def __init__(self, message: str, *, found: str, request: RequestSummary | None = None) -> None:
        super().__init__(message, request=request)
        self.found = found


class StatusError(WireError):
    """The server answered with an error status."""


class CredentialsRefusedError(StatusError):
    """401 or 403: the password or user name is wrong or missing."""


class BadRequestError(StatusError):
    """The server refused the request as malformed (4xx)."""


class ConflictError(StatusError):
    """409: the session is busy."""


class NotFoundError(StatusError):
    """404: no such message, permission request or question."""


class SessionNotFoundError(NotFoundError):
    """The server has no such session.

    Attributes:
        session_id: The id in the request.
    """

    session_id: str | None = None


class StaleSessionError(SessionNotFoundError):
    """A row names a session that the server does not have, and the new session in its place was lost, too.

    Attributes:
        record: The row's key.
    """

    record: str | None = None


class ServerError(StatusError):
    """5xx: the server failed. Its log has the reason."""
