"""Sending requests to a server: they are repeated if that cannot change the outcome, and their answers are parsed.

If an answer is not that of a supported server, the server is asked for its version, and the error names it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from opencode_sessions.errors import (
    BadRequestError,
    ConfigurationError,
    ConnectionLostError,
    NotFoundError,
    NotOpencodeError,
    RequestTimedOutError,
    ResponseTooLargeError,
    ServerError,
    ServerUnreachableError,
    SessionNotFoundError,
    UnsupportedVersionError,
    WireError,
)
from opencode_sessions.protocol.places import directory_of
from opencode_sessions.protocol.plain import clean
from opencode_sessions.protocol.values import Health
from opencode_sessions.runtime.ports import Runtime
from opencode_sessions.wire.detect import HEALTH_OF_V2, SUPPORTED, V1, V2, is_supported
from opencode_sessions.wire.dialect import Call, Dialect
from opencode_sessions.wire.http import Request, Response, Transport, facts, interpret

__all__ = ["Calls"]

T = TypeVar("T")

_BACKOFF = (0.1, 0.4)
_GATEWAY_STATUSES = (502, 503, 504)

_log = logging.getLogger("opencode_sessions.wire")


class Calls:
    """The calls to one server, for one directory."""

    def __init__(self, transport: Transport, runtime: Runtime, *, directory: str | None = None) -> None:
        self._transport = transport
        self.clock = runtime
        self.directory = directory_of("directory", directory)
        self._line: Dialect = V1
        self._identified = False

    async def health(self) -> Health:
        """The server's health report, with its version.

        Raises:
            UnsupportedVersionError: It is an OpenCode server that this library does not support.
            NotOpencodeError: It is another program.
        """
        found = await self._identify()
        if not is_supported(found.version):
            raise UnsupportedVersionError(
                f"this is OpenCode {found.version}; needed is {SUPPORTED}", found=found.version
            )
        return found

    async def _identify(self) -> Health:
        """Ask the server for its version, and use its dialect from now on."""
        try:
            found = await self._health(V1.health())
        except (NotOpencodeError, NotFoundError) as error:
            if (health := await self._identify_v2()) is not None:
                return health
            if isinstance(error, NotOpencodeError):
                raise
            raise NotOpencodeError(
                f"{error}. Every OpenCode 1.x server has this route: something else answers there. Check the URL",
                request=error.request,
                status=error.status,
                body=error.body,
            ) from error
        if found is None:
            raise NotOpencodeError("it answers at /global/health, but not as a healthy OpenCode 1.x server")
        self._line, self._identified = V1, True
        return found

    async def _identify_v2(self) -> Health | None:
        """The health report of the V2 line, which has no `/global/health`."""
        call = V2.health()
        for path in HEALTH_OF_V2:
            try:
                found = await self._health(replace(call, request=replace(call.request, path=path)))
            except WireError:
                continue
            if found is not None:
                self._line, self._identified = V2, True
                return found
        return None

    async def _health(self, call: Call[Health | None]) -> Health | None:
        response = await self._send(call.request)
        found = _understood(call.parse, response)
        return None if found is None else Health(clean(response.quote(found.version)))

    async def clock_difference(self) -> float | None:
        """How far the server's clock is ahead of this machine's, in whole seconds; None if the server does not tell."""
        before = time.time()
        response = await self._send(self._line.health().request)
        try:
            there = parsedate_to_datetime(response.headers.get("date", ""))
        except ValueError:
            return None
        if there.tzinfo is None:  # "-0000", or none: HTTP dates are UTC, not this process's time zone
            there = there.replace(tzinfo=UTC)
        half_a_second = 0.5  # the header has whole seconds
        return there.timestamp() + half_a_second - (before + time.time()) / 2

    async def own_config(self) -> Mapping[str, Any] | None:
        """The server's configuration, for its working directory; None if it does not tell, as on the V2 line."""
        return await self._ask(lambda line: line.config(None))

    async def takes_config(self, directory: str, file: str, user: str) -> bool | None:
        """Does the server read configuration from a directory? It keeps the directory in memory until it restarts.

        Args:
            directory: A directory without other use.
            file: The name of the configuration file in it.
            user: The user's name in that configuration.

        Returns:
            None if the server does not see the directory: it is on another machine, or may not read it.
        """
        config = await self._ask(lambda line: line.config(directory))
        if config is None:
            raise ConfigurationError(
                "an OpenCode 2.x server does not tell from where it takes its configuration"
            )
        if config.get("username") == user:
            return True
        seen = await self._ask(lambda line: line.file(directory, file)) or {}
        return False if user in str(seen.get("content")) else None

    async def unopened_directory(self, session_id: str) -> str | None:
        """The session's directory, if the server cannot open it; None if it can.

        In such a session the server ends each prompt at once, without an error (1.18.33).
        """
        directory = (await self._asked(lambda line: line.get(session_id))).directory
        if directory is None or await self._opens(directory):
            return None
        # The server does not notice a directory that is made after its first look (1.18.33), so make it look again.
        await self._ask(lambda line: line.dispose(directory))
        return None if await self._opens(directory) else directory

    async def _opens(self, directory: str) -> bool:
        call = self._line.listing(directory)
        if call is None:
            return True  # on this line a prompt is refused if the directory cannot be opened
        try:
            response = await self._send(call.request)
        except (ResponseTooLargeError, RequestTimedOutError):
            return True  # a long list: the directory can be opened
        return response.status != httpx2.codes.INTERNAL_SERVER_ERROR

    async def _refuse_others(self) -> None:
        """Raise if the server is not supported. Other errors are ignored here.

        Raises:
            UnsupportedVersionError: The server has a version or line that this library does not support.
        """
        try:
            await self.health()
        except UnsupportedVersionError:
            raise
        except WireError as error:
            _log.debug("not told who answers there: %s", error)

    async def _speaking(self, act: Callable[[Dialect], Awaitable[T]]) -> T:
        """The result of an action in the server's dialect.

        A server counts as one of the older line until an answer contradicts that. Then it is asked for its version.
        """
        line = self._line
        try:
            return await act(line)
        except UnsupportedVersionError:
            raise
        except (NotOpencodeError, NotFoundError, BadRequestError) as error:
            if isinstance(error, SessionNotFoundError):
                raise
            if not self._identified:
                await self._refuse_others()
            if self._line is line:
                raise
        return await act(self._line)

    async def _ask(self, make: Callable[[Dialect], Call[T] | Sequence[Call[T]] | None]) -> T | None:
        """Make these calls in order, and return the last answer; None without calls."""

        async def act(line: Dialect) -> T | None:
            calls = make(line)
            found: T | None = None
            for call in (calls,) if isinstance(calls, Call) else calls or ():
                try:
                    found = await self._answer(call)
                except NotFoundError as error:
                    if not call.none_found or isinstance(error, SessionNotFoundError):
                        raise
            return found

        return await self._speaking(act)

    async def _answer(self, call: Call[T]) -> T:
        return await self._read(call.parse, await self._send(call.request), call.request.session_id)

    async def _asked(self, make: Callable[[Dialect], Call[T] | Sequence[Call[T]]]) -> T:
        """See `_ask`; for calls that every line has."""
        return await self._ask(make)  # type: ignore[return-value]  # there are calls

    async def _page(self, make: Callable[[Dialect], Call[T]]) -> tuple[T, str | None]:
        """One page of a list, and the cursor of the next one."""

        async def act(line: Dialect) -> tuple[T, str | None]:
            call = make(line)
            response = await self._send(call.request)

            def parse(body: Any) -> tuple[T, str | None]:
                return call.parse(body), call.next_page(body, response.headers)

            return await self._read(parse, response, call.request.session_id)

        return await self._speaking(act)

    async def _read(self, parse: Callable[[Any], T], response: Response, session_id: str | None = None) -> T:
        try:
            return _understood(parse, response, session_id)
        except NotOpencodeError:
            await self._refuse_others()
            raise

    async def _send(self, request: Request) -> Response:
        first = self._transport.timeouts.first_read
        if request.method == "GET" and first < self._transport.timeouts.read:
            try:
                return await self._persist(replace(request, within=first))
            except RequestTimedOutError as error:
                if error.status is not None:  # the answer had begun
                    raise
                _log.debug("sending again: %s", error)
        return await self._persist(request)

    async def _persist(self, request: Request) -> Response:
        for delay in _BACKOFF:
            try:
                response = await self._transport.send(request)
            except (
                ServerUnreachableError
            ) as error:  # the server received nothing, so any request may be repeated
                self._identified = False  # the server may come back with another version
                _log.debug("sending again in %.1f s: %s", delay, error)
            except ConnectionLostError as error:
                self._identified = False
                if not request.repeatable:
                    raise
                _log.debug("sending again in %.1f s: %s", delay, error)
            else:
                if not (request.repeatable and response.status in _GATEWAY_STATUSES):
                    return response
                _log.debug("sending again in %.1f s: %s answered %s", delay, request.path, response.status)
            await self.clock.sleep(delay)
        return await self._transport.send(request)


def _understood(parse: Callable[[Any], T], response: Response, session_id: str | None = None) -> T:
    """The value in an answer.

    Raises:
        StatusError: The subclass for the status.
        NotOpencodeError: The answer is not the expected JSON.
    """
    try:
        body = interpret(response, session_id=session_id)
    except ServerError as error:
        if response.status not in _GATEWAY_STATUSES:
            raise
        raise ServerError(
            f"{error}. A gateway before the server may have said so: is the server there, and is the URL its own?",
            **facts(response),
        ) from None
    try:
        return parse(body)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotOpencodeError(
            f"{response.request} answered with JSON of an unknown shape ({type(error).__name__}: {error}): "
            "is that an OpenCode 1.x server? `opencode-sessions doctor` looks at it",
            **facts(response),
        ) from error
