"""httpx2 as the transport: blocking and suspending, with one reading of what went wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any
from weakref import WeakSet

import httpx2

from opencode_sessions.errors import (
    ConnectionLostError,
    NotOpencodeError,
    RequestSummary,
    RequestTimedOutError,
    ServerUnreachableError,
    StreamSilentError,
    WireError,
)
from opencode_sessions.wire.address import Address, Timeouts
from opencode_sessions.wire.forks import renew_in_children
from opencode_sessions.wire.http import Request, Response, interpret

__all__ = ["BlockingTransport", "SuspendingTransport"]


_CONNECTIONS = 100
"""More requests wait for one of these: what the pool does for a request costs as much as it has connections."""

_MADE = frozenset(
    f"connection.{step}.complete" for step in ("connect_tcp", "connect_unix_socket", "start_tls")
)
"""What httpx2 traces when it has made a connection: one that is just being made outlives the closing of its pool."""


class _Httpx:
    """What both transports share: how a request is written, and what its failures mean."""

    _trace: Callable[[str, Mapping[str, Any]], Any]

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self._address = address
        self.timeouts = timeouts
        self.closed = False

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self._address.base_url,
            "headers": self._address.headers(),
            "limits": httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            "trust_env": False,  # a proxy of the environment is for the internet, not for our own server
        }

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "method": request.method,
            "url": request.path,
            "extensions": {"trace": self._trace},
        }
        if request.params:
            arguments["params"] = dict(request.params)
        if request.json is not None:
            arguments["json"] = request.json
        return arguments

    def _timeout(self, request: Request) -> httpx2.Timeout:
        read = self.timeouts.creation if request.creation else self.timeouts.read
        return httpx2.Timeout(request.within or read, connect=self.timeouts.connect)

    def _stream_timeout(self) -> httpx2.Timeout:
        """For the head of a stream. A server that is still starting can leave a request hanging for good."""
        return httpx2.Timeout(self.timeouts.connect)

    def _allow_silence(self, response: httpx2.Response) -> None:
        """For the events themselves."""
        response.request.extensions["timeout"]["read"] = self.timeouts.silence

    def _summary(self, request: Request) -> RequestSummary:
        return RequestSummary(request.method, self._address.base_url + request.path)

    @contextmanager
    def _translated(self, request: Request, *, streaming: bool = False) -> Iterator[None]:
        summary = self._summary(request)
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ServerUnreachableError(
                f"no OpenCode server answers at {self._address.base_url} ({str(error) or 'timed out'}): start one "
                "with `opencode-sessions serve`, or set OPENCODE_BASE_URL to where it is",
                request=summary,
            ) from error
        except httpx2.TimeoutException as error:
            if streaming:
                raise StreamSilentError(
                    f"{summary} said nothing for too long, not even its heartbeat",
                    request=summary,
                ) from error
            raise RequestTimedOutError(f"{summary} was not answered in time", request=summary) from error
        except httpx2.TransportError as error:
            why = f"the connection broke ({str(error) or type(error).__name__})"
            raise ConnectionLostError(
                f"{summary}: {'the client was closed' if self.closed else why}", request=summary
            ) from error
        except httpx2.RequestError as error:
            raise NotOpencodeError(f"{summary}: {error}", request=summary) from error
        except RuntimeError as error:
            if not self.closed:
                raise
            raise ServerUnreachableError(f"{summary}: the client was closed", request=summary) from error

    def _whole(self, request: Request, response: httpx2.Response) -> Response:
        return Response(response.status_code, response.headers, response.content, self._summary(request))

    def _not_a_stream(self, request: Request, response: httpx2.Response) -> WireError:
        try:
            interpret(self._whole(request, response))
        except WireError as error:
            return error
        summary = self._summary(request)
        return NotOpencodeError(f"{summary} is not a stream of events", request=summary)


class BlockingTransport(_Httpx):
    """A `Transport` that never suspends. Safe between threads, and in a forked child."""

    def __init__(
        self, address: Address, timeouts: Timeouts, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        super().__init__(address, timeouts)
        self._transport = transport
        self._client: httpx2.Client | None = self._connect()
        self._inherited: list[httpx2.Client | None] = []
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        renew_in_children(self, BlockingTransport._leave_the_parents)

    def _connect(self) -> httpx2.Client:
        return httpx2.Client(transport=self._transport, **self._options())

    def _leave_the_parents(self) -> None:
        """A forked child must not speak on its parent's sockets, nor shut or close them."""
        self._inherited.append(self._client)
        self._client = None
        self._sockets = WeakSet()
        self._lock = threading.Lock()

    @property
    def _http(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event not in _MADE:
            return
        stream = info["return_value"]
        with self._lock:
            self._sockets.add(stream.get_extra_info("socket"))
        if self.closed:
            stream.close()
            raise RuntimeError("closed while it was connecting")

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        with self._translated(request):
            response = self._http.request(timeout=self._timeout(request), **self._arguments(request))
            return self._whole(request, response)

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Transport.stream`."""
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        with (
            self._translated(request, streaming=True),
            self._http.stream(timeout=self._stream_timeout(), **self._arguments(request)) as response,
        ):
            if not _is_stream(response):
                response.read()
                raise self._not_a_stream(request, response)
            self._allow_silence(response)
            yield _stepwise(response.iter_bytes())

    def interrupt(self) -> None:
        """See `Transport.interrupt`: who reads from a socket finds its end."""
        self.closed = True
        with self._lock:
            sockets = list(self._sockets)
        for carrier in sockets:
            with suppress(OSError):
                # Not the method of an encrypted one, which takes it apart under its reader.
                socket.socket.shutdown(carrier, socket.SHUT_RDWR)

    async def close(self) -> None:
        """See `Transport.close`."""
        self.interrupt()
        if self._client is not None:
            self._client.close()


class SuspendingTransport(_Httpx):
    """A `Transport` on asyncio."""

    def __init__(
        self, address: Address, timeouts: Timeouts, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(address, timeouts)
        self._client = httpx2.AsyncClient(transport=transport, **self._options())

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if self.closed and event in _MADE:
            await info["return_value"].aclose()
            raise RuntimeError("closed while it was connecting")

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        with self._translated(request):
            response = await self._client.request(timeout=self._timeout(request), **self._arguments(request))
            return self._whole(request, response)

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Transport.stream`."""
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        with self._translated(request, streaming=True):
            async with self._client.stream(
                timeout=self._stream_timeout(), **self._arguments(request)
            ) as response:
                if not _is_stream(response):
                    await response.aread()
                    raise self._not_a_stream(request, response)
                self._allow_silence(response)
                yield response.aiter_bytes()

    def interrupt(self) -> None:
        """See `Transport.interrupt`: there are no threads here to be woken."""
        self.closed = True

    async def close(self) -> None:
        """See `Transport.close`."""
        self.interrupt()
        await self._client.aclose()


def _is_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return response.status_code < httpx2.codes.BAD_REQUEST and kind.startswith("text/event-stream")


async def _stepwise(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking iterator in the shape of an async one; it never suspends."""
    for chunk in chunks:
        yield chunk
