"""Requests, answers and their meaning: the HTTP of the sync and the async client, without I/O."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urljoin

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
from opencode_sessions.protocol.plain import clean
from opencode_sessions.wire.address import Timeouts

__all__ = ["Request", "Response", "Transport", "facts", "interpret", "redirected"]

_NO_CONTENT = 204
_SETTLED = b'"FormAlreadySettledError"'
"""On the V2 line: the ask no longer waits, which counts like an unknown ask."""
_WANTS_HTTPS = re.compile(rb"(?i)plain HTTP\b.*\b(HTTPS|SSL)|HTTP request to an HTTPS")
"""The answers of nginx, Apache and Go to http on a port for https."""
_HTTPS = ": the server speaks https there. Write https:// instead of http://"


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        repeatable: Whether sending it again cannot change the outcome.
        creation: Whether the short timeout for creations applies.
        within: Seconds until the answer must begin, if they are fewer than those for the whole answer.
        session_id: The session that is missing if the answer is a 404.
        raw: Whether the answer is a file, of any media type.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    repeatable: bool = False
    creation: bool = False
    within: float | None = None
    session_id: str | None = None
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whole.

    Attributes:
        quote: Cleans text from the answer before an error repeats it: see `Address.quote`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    request: RequestSummary
    quote: Callable[[str | bytes], str]


class Transport(Protocol):
    """Sends requests, blocking or suspending."""

    timeouts: Timeouts

    async def send(self, request: Request) -> Response:
        """Send once.

        Raises:
            ServerUnreachableError: No connection; the server received nothing.
            RequestTimedOutError: No answer in time.
            ConnectionLostError: The connection broke first.
            ResponseTooLargeError: The answer exceeds the limit.
            NotOpencodeError: The answer is a redirect, which is never followed.
        """

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a stream of bytes; raises as `send`, and StreamSilentError when nothing comes for too long."""

    def interrupt(self) -> None:
        """Make no more connections, and wake threads that wait for an answer, because the client is being closed."""

    async def close(self) -> None:
        """Close all connections."""


def interpret(response: Response, *, session_id: str | None = None) -> Any:
    """The JSON of a good answer; None for an empty one.

    Raises:
        StatusError: The subclass for the status.
        NotOpencodeError: The answer is not JSON.
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
    said = f"{response.request} answered {response.status}" + (
        f": {clean(response.quote(text))}" if text else ""
    )
    about = facts(response)
    gone = response.status == 409 and _SETTLED in response.body  # noqa: PLR2004 - HTTP's own
    match 404 if gone else response.status:
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
            wants_https = _WANTS_HTTPS.search(response.body)
            return BadRequestError(f"{said}{_HTTPS if wants_https else ''}", **about)


def _not_opencode(response: Response, kind: str) -> NotOpencodeError:
    what = (
        "a web page"
        if "html" in kind
        else (clean(response.quote(kind)) or "something without a content type")
    )
    return NotOpencodeError(
        f"{response.request} answered {response.status} with {what} where JSON was due: this is not the route "
        "of an OpenCode 1.x server (it answers unknown routes with its web app). Check the URL, and the "
        "server's version with `opencode-sessions doctor`",
        **facts(response),
    )


def redirected(
    request: RequestSummary, status: int, location: str, quote: Callable[[str | bytes], str]
) -> NotOpencodeError:
    """The error for a redirect: a proxy before the server requires something, such as a login or https."""
    where = clean(quote(location)).partition("?")[0].partition("#")[0]
    try:
        target = urljoin(request.url, where)
    except ValueError:
        target = where
    shown = "an address with credentials in it" if "@" in where else target if where else "nowhere"
    return NotOpencodeError(
        f"{request} answered {status}: it redirects to {shown}. No redirect is followed, as that could hand the "
        "credentials to another server. Set OPENCODE_BASE_URL to the server's own URL, or let what stands before it "
        "pass requests through",
        request=request,
        status=status,
    )


def facts(response: Response) -> dict[str, Any]:
    """The details of an answer for an error."""
    return {"request": response.request, "status": response.status, "body": response.quote(response.body)}


def _message(response: Response) -> str | None:
    """The server's error message. Errors come in two shapes: `{name, data: {message}}` and `{_tag, …}`."""
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
