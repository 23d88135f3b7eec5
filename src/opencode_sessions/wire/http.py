"""A request, an answer, and what an answer means: the HTTP that both faces share, without any I/O."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from opencode_sessions.errors import (
    BadRequestError,
    ConflictError,
    CredentialsRefusedError,
    NotFoundError,
    NotOpencodeError,
    RequestSummary,
    ServerError,
    SessionNotFoundError,
    StatusError,
)
from opencode_sessions.wire.address import Timeouts

__all__ = ["Request", "Response", "Transport", "facts", "interpret"]

_BODY_IN_ERRORS = 2000
_NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        repeatable: Sending it again cannot change the outcome.
        creation: It has the short timeout of creations.
        within: Seconds for the answer, where they are others than the transport's.
        session_id: Whose absence a 404 means.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    repeatable: bool = False
    creation: bool = False
    within: float | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    request: RequestSummary


class Transport(Protocol):
    """What carries requests: blocking or suspending, with one meaning."""

    timeouts: Timeouts

    async def send(self, request: Request) -> Response:
        """Send once.

        Raises:
            ServerUnreachableError: No connection; the server received nothing.
            RequestTimedOutError: No answer in time.
            ConnectionLostError: The connection broke first.
        """

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a stream of bytes; raises as `send`, and StreamSilentError when nothing comes for too long."""

    def interrupt(self) -> None:
        """The client is being closed: no more connections are made, and threads that wait for an answer are woken."""

    async def close(self) -> None:
        """Close all connections."""


def interpret(response: Response, *, session_id: str | None = None) -> Any:
    """The JSON of a good answer; None for an empty one.

    Raises:
        StatusError: Its subclass for the status.
        NotOpencodeError: HTML or something else where JSON was due.
    """
    if response.status >= 400:  # noqa: PLR2004 - HTTP's own boundary
        raise _failure(response, session_id)
    if response.status == _NO_CONTENT or not response.body:
        return None
    kind = response.headers.get("content-type", "")
    if "json" not in kind:
        raise _not_opencode(response, kind)
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise NotOpencodeError(
            f"{response.request} answered {response.status} with JSON that does not parse ({error})",
            **facts(response),
        ) from error


def _failure(response: Response, session_id: str | None) -> StatusError:
    text = _message(response)
    said = f"{response.request} answered {response.status}" + (f": {text}" if text else "")
    about = facts(response)
    match response.status:
        case 401 | 403:
            return CredentialsRefusedError(
                f"{said}. Check OPENCODE_SERVER_PASSWORD and OPENCODE_SERVER_USERNAME against the server's",
                **about,
            )
        case 404 if session_id is not None and (text or "").startswith("Session not found"):
            missing = SessionNotFoundError(said, **about)
            missing.session_id = session_id
            return missing
        case 404:
            return NotFoundError(said, **about)
        case 409:
            return ConflictError(said, **about)
        case status if status >= 500:  # noqa: PLR2004 - HTTP's own boundary
            return ServerError(said, **about)
        case _:
            return BadRequestError(said, **about)


def _not_opencode(response: Response, kind: str) -> NotOpencodeError:
    what = "a web page" if "html" in kind else (kind or "something without a content type")
    return NotOpencodeError(
        f"{response.request} answered {response.status} with {what} where JSON was due: this is not the route "
        "of an OpenCode 1.x server (it answers unknown routes with its web app). Check the URL, and the "
        "server's version with `opencode-sessions doctor`",
        **facts(response),
    )


def facts(response: Response) -> dict[str, Any]:
    """What an error tells of the answer that it is about."""
    body = response.body[:_BODY_IN_ERRORS].decode("utf-8", "replace")
    return {"request": response.request, "status": response.status, "body": body}


def _message(response: Response) -> str | None:
    """What the server said went wrong. Errors come in two shapes: `{name, data: {message}}` and `{_tag, …}`."""
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    data = body.get("data")
    nested = data.get("message") if isinstance(data, dict) else None
    message = nested or body.get("message")
    return str(message) if message else None
