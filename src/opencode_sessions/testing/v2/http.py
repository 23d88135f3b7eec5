"""HTTP/1.1 over asyncio streams: as much of it as JSON routes and event streams need."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from opencode_sessions.testing.v2.errors import ApiError, invalid_request

__all__ = ["EventStream", "HttpServer", "Raw", "Request", "Router"]

logger = logging.getLogger("opencode_sessions.testing.v2")

_SSE_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read to its end."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The body as an object; an empty body is an empty object.

        Raises:
            ApiError: The body is not a JSON object.
        """
        if not self.body:
            return {}
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise invalid_request(f"The body is not JSON: {error}", kind="Body") from error
        if not isinstance(value, dict):
            raise invalid_request("The body is not a JSON object", kind="Payload")
        return value


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer of bytes."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer that goes on: each item is one frame of server-sent events."""

    frames: AsyncIterator[bytes]


Handler = Callable[[Request], Any | Awaitable[Any]]
"""Answers a request with JSON, `None` for 204, `Raw` or `EventStream`."""


_WEB_APP = Raw(b"<!doctype html><title>OpenCode</title>", "text/html")


class Router:
    """Finds the handler of a request by its method and path. Outside of `/api` there is only the web app (2.0.12)."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Route `path`, in which `{name}` stands for one segment and `{name*}` for all that follows."""
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", path)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        self.routes.append((method, re.compile(pattern), handler))

    async def answer(self, request: Request) -> Any:
        """What the request's handler says.

        Raises:
            ApiError: There is no such route of the API, or the handler refused.
        """
        for method, pattern, handler in self.routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                params = {name: unquote(value) for name, value in match.groupdict().items()}
                answer = handler(
                    Request(
                        request.method, request.path, request.query, request.headers, request.body, params
                    )
                )
                return await answer if isinstance(answer, Awaitable) else answer
        if not request.path.startswith("/api/") and request.method == "GET":
            return _WEB_APP
        raise ApiError(HTTPStatus.NOT_FOUND, None)


class HttpServer:
    """Listens, and answers what comes.

    Args:
        router: What there is to ask for.
        credentials: The user name and password that each request must carry as HTTP Basic; None for no check.
    """

    def __init__(self, router: Router, credentials: tuple[str, str] | None) -> None:
        self._router, self._credentials = router, credentials
        self._listening: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen on an address, 0 for any free port. Returns the port."""
        self._listening = await asyncio.start_server(self._connected, host, port, backlog=512)
        return int(self._listening.sockets[0].getsockname()[1])

    async def refuse(self) -> None:
        """Take no more connections. Those that there are go on."""
        if self._listening and self._listening.is_serving():
            for each in self._listening.sockets:
                asyncio.get_running_loop().remove_reader(each.fileno())
            # A server that closes loses the connection that it accepted in the same round of the loop (Python 3.11).
            await asyncio.sleep(0)
            self._listening.close()

    async def kill(self) -> None:
        """Take no more connections, and end those that there are."""
        await self.refuse()
        for writer in self._connections:
            writer.transport.abort()

    def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Coroutine[Any, Any, None] | None:
        if self._listening and not self._listening.is_serving():
            writer.transport.abort()
            return None
        self._connections.add(writer)
        return self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await _serve_one(reader, writer, self._router, self._credentials):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            logger.debug("a connection ended: %s", error)
        except asyncio.CancelledError:
            # Only the end of the server cancels; asyncio would log it as an error if it were raised on.
            pass
        finally:
            self._connections.discard(writer)
            writer.close()


async def _serve_one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    router: Router,
    credentials: tuple[str, str] | None,
) -> bool:
    """Answer the next request of a connection. Returns whether there may be another one."""
    request = await _read_request(reader)
    if request is None:
        return False
    try:
        _check_credentials(request, credentials)
        answer = await router.answer(request)
    except ApiError as error:
        await _send(writer, error.status, _json_bytes(error.body), "application/json", error.headers)
        return True
    except Exception as error:
        logger.exception("%s %s failed", request.method, request.path)
        body = {"_tag": "UnknownError", "message": f"{type(error).__name__}: {error}"}
        await _send(writer, HTTPStatus.INTERNAL_SERVER_ERROR, _json_bytes(body), "application/json")
        return True
    match answer:
        case EventStream():
            await _send_events(writer, answer)
        case Raw():
            await _send(writer, HTTPStatus.OK, answer.content, answer.content_type)
        case None:
            await _send(writer, HTTPStatus.NO_CONTENT, b"", None)
        case _:
            await _send(writer, HTTPStatus.OK, _json_bytes(answer), "application/json")
    return request.headers.get("connection", "").lower() != "close"


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    }
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length") or 0))
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return Request(method, url.path, query, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _check_credentials(request: Request, credentials: tuple[str, str] | None) -> None:
    if credentials is None:
        return
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    given = b""
    with contextlib.suppress(binascii.Error, ValueError):
        given = base64.b64decode(encoded)
    if scheme.lower() != "basic" or not hmac.compare_digest(given, ":".join(credentials).encode()):
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            {"_tag": "UnauthorizedError", "message": "Authentication required"},
            headers={"WWW-Authenticate": 'Basic realm="Secure Area"'},
        )


def _json_bytes(value: Any) -> bytes:
    return b"" if value is None else json.dumps(value, ensure_ascii=False).encode()


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    content_type: str | None,
    headers: Mapping[str, str] | None = None,
) -> None:
    every = dict(headers or {})
    if body and content_type:
        every["Content-Type"] = content_type
    if status != HTTPStatus.NO_CONTENT:
        every["Content-Length"] = str(len(body))
    writer.write(_head(status, every) + body)
    await writer.drain()


async def _send_events(writer: asyncio.StreamWriter, stream: EventStream) -> None:
    writer.write(_head(HTTPStatus.OK, {**_SSE_HEADERS, "Transfer-Encoding": "chunked"}))
    async for frame in stream.frames:
        writer.write(b"%x\r\n%b\r\n" % (len(frame), frame))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
