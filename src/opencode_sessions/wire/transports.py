"""httpx2 as the transport, blocking and suspending, with the same errors."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import Any
from weakref import WeakSet

import httpx2

from opencode_sessions.errors import (
    ConnectionLostError,
    NotOpencodeError,
    RequestSummary,
    RequestTimedOutError,
    ResponseTooLargeError,
    ServerUnreachableError,
    StreamSilentError,
    WireError,
)
from opencode_sessions.protocol.plain import clean
from opencode_sessions.runtime.forks import renew_in_children
from opencode_sessions.wire.address import Address, Timeouts
from opencode_sessions.wire.clock import MADE, clocked, started, watched
from opencode_sessions.wire.http import Request, Response, interpret, redirected
from opencode_sessions.wire.unreachable import reason_of, trusted, unreachable

__all__ = ["LARGEST_RESPONSE", "BlockingTransport", "SuspendingTransport"]

LARGEST_RESPONSE = 64 * 1024 * 1024
"""The longest answer in bytes, after decompression. A page of messages has some MB, or more with large files."""

_CONNECTIONS = 100
"""The most connections; further requests wait. The pool's work for a request grows with the number of connections."""

_AT_ONCE = 16
"""The most requests of one asyncio client at a time. If 100 turns end at once, their 300 requests would otherwise fill
one round of the event loop and delay the events of all other turns."""

_LONGEST_QUEUE = 1.0

_UNCOMPRESSED = {"accept-encoding": "identity"}
"""For a stream of events, because compression may hold events back."""


class _Httpx:
    """The common part of both transports: the form of requests, and the meaning of failures."""

    _trace: Callable[[str, Mapping[str, Any]], Any]
    _refuse_redirect: Callable[[httpx2.Response], Any]

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self._address = address
        self.timeouts = timeouts
        self.closed = False
        self._answered = False

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self._address.base_url,
            "headers": self._address.headers(),
            "event_hooks": {"response": [self._refuse_redirect]},
            "limits": httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            "verify": trusted(self._address.base_url),
            "trust_env": False,  # the environment's proxy is for the internet, not for our own server
        }

    def _arguments(self, request: Request, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "headers": headers,
            "method": request.method,
            "url": request.path,
            "extensions": {"trace": self._trace},
        }
        if request.params:
            arguments["params"] = dict(request.params)
        if request.json is not None:
            arguments["json"] = request.json
        return arguments

    @contextmanager
    def _timed(self, request: Request) -> Iterator[tuple[httpx2.Timeout, Callable[[httpx2.Response], None]]]:
        """The timeouts until the answer begins, and the function to call then."""
        head, whole = self._times(request)
        with clocked(head) as clock:

            def begun(response: httpx2.Response) -> None:
                clock.seconds = whole
                _allow(response, whole)

            yield httpx2.Timeout(head, connect=self.timeouts.connect), begun

    def _times(self, request: Request) -> tuple[float, float]:
        """Seconds until the answer must begin, and until it must end."""
        whole = self.timeouts.creation if request.creation else self.timeouts.read
        return min(request.within or whole, whole), whole

    @contextmanager
    def _timed_head(self) -> Iterator[httpx2.Timeout]:
        """The timeouts for the head of a stream. A server that is still starting may never answer a request."""
        with clocked(self.timeouts.connect):
            yield httpx2.Timeout(self.timeouts.connect)

    def _summary(self, request: Request) -> RequestSummary:
        return RequestSummary(request.method, self._address.base_url + request.path)

    @contextmanager
    def _translated(self, request: Request, *, streaming: bool = False) -> Iterator[None]:
        summary = self._summary(request)
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise unreachable(
                error, self._address.base_url, request=summary, seconds=self.timeouts.connect
            ) from error
        except httpx2.TimeoutException as error:
            if streaming:
                raise StreamSilentError(
                    f"{summary} said nothing for too long, not even its heartbeat: the server hangs, or the "
                    "connection is dead",
                    request=summary,
                ) from error
            raise RequestTimedOutError(
                f"{summary} was not answered within {self._times(request)[0]:g} s. The server accepts connections, but "
                "it is overloaded or hangs: look at its log, and restart it if this goes on",
                request=summary,
            ) from error
        except httpx2.TransportError as error:
            why = f"the connection broke ({self._quoted(error)}){self._perhaps_https()}"
            raise ConnectionLostError(
                f"{summary}: {'the client was closed' if self.closed else why}", request=summary
            ) from None  # the cause may repeat text from the server
        except httpx2.RequestError as error:
            raise NotOpencodeError(f"{summary}: {self._quoted(error)}", request=summary) from None
        except RuntimeError as error:
            if not self.closed:
                raise
            raise ServerUnreachableError(f"{summary}: the client was closed", request=summary) from error

    def _quoted(self, error: httpx2.RequestError) -> str:
        return clean(self._address.quote(reason_of(error))) or type(error).__name__

    def _perhaps_https(self) -> str:
        if self._answered or self._address.base_url.startswith("https:"):
            return ""
        return ", and nothing was ever answered there. If the server speaks https, write https:// instead of http://"

    def _redirected(self, response: httpx2.Response) -> None:
        """Raise for a redirect, before httpx2 looks at its target."""
        self._answered = True
        if response.is_redirect:
            request = response.request
            summary = RequestSummary(request.method, str(request.url.copy_with(query=None)))
            location = response.headers.get("location", "")
            raise redirected(summary, response.status_code, location, self._address.quote)

    async def _whole(
        self, request: Request, response: httpx2.Response, chunks: AsyncIterator[bytes]
    ) -> Response:
        body = bytearray()
        summary = self._summary(request)
        status = response.status_code
        try:
            async for chunk in chunks:
                body += chunk
                if len(body) > LARGEST_RESPONSE:
                    raise ResponseTooLargeError(
                        f"{summary} was answered with more than {LARGEST_RESPONSE:,} bytes, and no more is read of "
                        "one answer. If an OpenCode server answers there, ask it for less at once; if not, "
                        "check the URL",
                        request=summary,
                        status=status,
                    )
        except httpx2.TimeoutException as error:
            raise RequestTimedOutError(
                f"{summary} was answered {status}, and the answer did not end in time",
                request=summary,
                status=status,
            ) from error
        return Response(status, response.headers, bytes(body), summary, self._address.quote)

    async def _not_a_stream(
        self, request: Request, response: httpx2.Response, chunks: AsyncIterator[bytes]
    ) -> WireError:
        try:
            interpret(await self._whole(request, response, chunks))
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
        """Forget the parent's sockets in a forked child, which must not use, shut or close them."""
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
        started(event)
        if event not in MADE:
            return
        stream = watched(info, blocking=True)
        with self._lock:
            self._sockets.add(stream.get_extra_info("socket"))
        if self.closed:
            stream.close()  # the pool does not know it yet
            raise RuntimeError("closed while it was connecting")

    def _refuse_redirect(self, response: httpx2.Response) -> None:
        self._redirected(response)

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        with (
            self._translated(request),
            self._timed(request) as (timeout, begun),
            self._http.stream(timeout=timeout, **self._arguments(request)) as response,
        ):
            begun(response)
            return await self._whole(request, response, _stepwise(response.iter_bytes()))

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Transport.stream`."""
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        with self._translated(request, streaming=True), ExitStack() as stack:
            with self._timed_head() as timeout:
                response = stack.enter_context(
                    self._http.stream(timeout=timeout, **self._arguments(request, _UNCOMPRESSED))
                )
                chunks = _stepwise(response.iter_bytes())
                if not _is_stream(request, response):
                    raise await self._not_a_stream(request, response, chunks)
            _allow(response, self.timeouts.silence)
            yield chunks

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
        self._under_way = asyncio.Semaphore(_AT_ONCE)

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        started(event)
        if event not in MADE:
            return
        stream = watched(info, blocking=False)
        if self.closed:
            await stream.aclose()
            raise RuntimeError("closed while it was connecting")

    async def _refuse_redirect(self, response: httpx2.Response) -> None:
        self._redirected(response)

    async def send(self, request: Request) -> Response:
        """See `Transport.send`."""
        async with self._queued():
            with self._translated(request), self._timed(request) as (timeout, begun):
                async with self._client.stream(timeout=timeout, **self._arguments(request)) as response:
                    begun(response)
                    return await self._whole(request, response, response.aiter_bytes())

    @asynccontextmanager
    async def _queued(self) -> AsyncIterator[None]:
        """Wait until fewer requests are under way, at most a second, as answers can be slow."""
        try:
            async with asyncio.timeout(_LONGEST_QUEUE):
                await self._under_way.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._under_way.release()

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Transport.stream`."""
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        with self._translated(request, streaming=True):
            async with AsyncExitStack() as stack:
                with self._timed_head() as timeout:
                    response = await stack.enter_async_context(
                        self._client.stream(timeout=timeout, **self._arguments(request, _UNCOMPRESSED))
                    )
                    chunks = response.aiter_bytes()
                    if not _is_stream(request, response):
                        raise await self._not_a_stream(request, response, chunks)
                _allow(response, self.timeouts.silence)
                yield chunks

    def interrupt(self) -> None:
        """See `Transport.interrupt`. There are no threads to wake."""
        self.closed = True

    async def close(self) -> None:
        """See `Transport.close`."""
        self.interrupt()
        await self._client.aclose()


def _allow(response: httpx2.Response, seconds: float) -> None:
    """Set the timeout for each read of the body."""
    response.request.extensions["timeout"]["read"] = seconds


def _is_stream(request: Request, response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    good = response.status_code < httpx2.codes.BAD_REQUEST
    return good and (request.raw or kind.startswith("text/event-stream"))


async def _stepwise(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A blocking iterator as an async one; it never suspends."""
    for chunk in chunks:
        yield chunk
