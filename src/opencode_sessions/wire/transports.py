"""httpx2 as the transport: blocking and suspending, with one reading of what went wrong."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any

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
from opencode_sessions.wire.http import Request, Response, interpret

__all__ = ["BlockingTransport", "SuspendingTransport"]


_CONNECTIONS = 100
"""More requests wait for one of these: what the pool does for a request costs as much as it has connections."""


class _Httpx:
    """What both transports share: how a request is written, and what its failures mean."""

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
        arguments: dict[str, Any] = {"method": request.method, "url": request.path}
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
            raise ConnectionLostError(
                f"{summary}: the connection broke ({str(error) or type(error).__name__})", request=summary
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
        self._pid = os.getpid()
        self._transport = transport
        self._client = self._connect()
        self._inherited: list[httpx2.Client] = []
        self._sockets: set[socket.socket] = set()

    def _connect(self) -> httpx2.Client:
        return httpx2.Client(transport=self._transport, **self._options())

    def _leave_the_parents(self) -> None:
        """A forked child must not speak on its parent's sockets, nor shut or close them."""
        if self._pid != os.getpid():
            self._inherited.append(self._client)
            self._sockets = set()
            self._client = self._connect()
            self._pid = os.getpid()

    @property
    def _http(self) -> httpx2.Client:
        self._leave_the_parents()
        return self._client

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
            carriers = _sockets_of(response)
            self._sockets |= carriers
            try:
                yield _stepwise(response.iter_bytes())
            finally:
                self._sockets -= carriers

    def interrupt(self) -> None:
        """See `Transport.interrupt`: a thread that blocks in a read of a socket is woken."""
        self._leave_the_parents()
        for carrier in list(self._sockets):
            with suppress(OSError):
                carrier.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """See `Transport.close`."""
        self.closed = True
        self._http.close()


class SuspendingTransport(_Httpx):
    """A `Transport` on asyncio."""

    def __init__(
        self, address: Address, timeouts: Timeouts, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(address, timeouts)
        self._client = httpx2.AsyncClient(transport=transport, **self._options())

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
        """See `Transport.interrupt`: the tasks that read are cancelled, there is no more to do."""

    async def close(self) -> None:
        """See `Transport.close`."""
        self.closed = True
        await self._client.aclose()


def _is_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return response.status_code < httpx2.codes.BAD_REQUEST and kind.startswith("text/event-stream")


async def _stepwise(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking iterator in the shape of an async one; it never suspends."""
    for chunk in chunks:
        yield chunk


def _sockets_of(response: httpx2.Response) -> set[socket.socket]:
    stream = response.extensions.get("network_stream")
    found = stream.get_extra_info("socket") if stream is not None else None
    return {found} if isinstance(found, socket.socket) else set()
