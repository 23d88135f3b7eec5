"""Asking a server: a request is sent, again where that cannot change the outcome, and its answer parsed.

Where the answer is none of a server that we speak with, it is asked who it is: that is then what is said.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from opencode_sessions.errors import (
    ConnectionLostError,
    NotFoundError,
    NotOpencodeError,
    RequestTimedOutError,
    ResponseTooLargeError,
    ServerError,
    ServerUnreachableError,
    UnsupportedVersionError,
    WireError,
)
from opencode_sessions.protocol.places import directory_of
from opencode_sessions.protocol.plain import clean
from opencode_sessions.protocol.values import Health
from opencode_sessions.runtime.ports import Runtime
from opencode_sessions.wire.detect import LINES
from opencode_sessions.wire.dialect import Call, Dialect
from opencode_sessions.wire.http import Request, Response, Transport, facts, interpret

__all__ = ["SUPPORTED", "Calls"]

T = TypeVar("T")

SUPPORTED = ">=1.18.20, <2"

_BACKOFF = (0.1, 0.4)
_HEALTH_OF_V2 = (
    "/api/info",
    "/api/status",
    "/api/health",
)  # of 2.0.6 and later, before that, and of the first ones
_GATEWAY_STATUSES = (502, 503, 504)

_log = logging.getLogger("opencode_sessions.wire")


class Calls:
    """One server, seen from one directory."""

    def __init__(self, transport: Transport, runtime: Runtime, *, directory: str | None = None) -> None:
        self._transport = transport
        self.clock = runtime
        self.directory = directory_of("directory", directory)

    async def health(self) -> Health:
        """That it is well, and which version it is.

        Raises:
            UnsupportedVersionError: It is an OpenCode server that this library does not speak with.
            NotOpencodeError: It is another program.
        """
        try:
            call = (await self._dialect()).health()
            response = await self._send(call.request)
            found = _understood(call.parse, response)
        except NotOpencodeError:
            await self._refuse_v2()
            raise
        except NotFoundError as error:
            await self._refuse_v2()
            raise NotOpencodeError(
                f"{error}. Every OpenCode 1.x server has this route: something else answers there. Check the URL",
                request=error.request,
                status=error.status,
                body=error.body,
            ) from error
        if found is None:
            raise NotOpencodeError("it answers at /global/health, but not as a healthy OpenCode 1.x server")
        if not _is_supported(found.version):
            version = clean(response.quote(found.version))
            raise UnsupportedVersionError(f"this is OpenCode {version}; needed is {SUPPORTED}", found=version)
        return found

    async def clock_difference(self) -> float | None:
        """How many seconds the server's clock is ahead of this machine's, to a second; None if it does not say."""
        before = time.time()
        response = await self._send((await self._dialect()).health().request)
        try:
            there = parsedate_to_datetime(response.headers.get("date", ""))
        except ValueError:
            return None
        if there.tzinfo is None:  # "-0000", or none: HTTP dates are UTC, whatever this process' time zone is
            there = there.replace(tzinfo=UTC)
        half_a_second = 0.5  # the header has whole seconds
        return there.timestamp() + half_a_second - (before + time.time()) / 2

    async def takes_config(self, directory: str, file: str, user: str) -> bool | None:
        """Does the server take configuration from a directory? It keeps the directory in memory until it restarts.

        Args:
            directory: A directory that nobody uses.
            file: The name of the configuration in it.
            user: What that configuration calls the user.

        Returns:
            None if the server does not see the directory: it is on another machine, or may not read it.
        """
        dialect = await self._dialect()
        config = await self._ask(dialect.config(directory))
        if config.get("username") == user:
            return True
        seen = await self._ask(dialect.file(directory, file))
        return False if user in str(seen.get("content")) else None

    async def unopened_directory(self, session_id: str) -> str | None:
        """The directory that a session works in, if the server cannot open it; None if it can.

        In such a session the server ends each prompt at once, without a word (1.18.33).
        """
        dialect = await self._dialect()
        directory = (await self._ask(dialect.get(session_id))).directory
        if directory is None or await self._opens(dialect, directory):
            return None
        # The server does not notice a directory that is made after it first looked (1.18.33): it must look again.
        await self._ask(dialect.dispose(directory))
        return None if await self._opens(dialect, directory) else directory

    async def _opens(self, dialect: Dialect, directory: str) -> bool:
        try:
            response = await self._send(dialect.listing(directory).request)
        except (ResponseTooLargeError, RequestTimedOutError):
            return True  # there is much in it
        return response.status != httpx2.codes.INTERNAL_SERVER_ERROR

    async def _refuse_v2(self) -> None:
        """The V2 line has no `/global/health`, and says its version elsewhere."""
        for path in _HEALTH_OF_V2:
            try:
                response = await self._send(Request("GET", path, repeatable=True))
                body = interpret(response)
            except WireError:
                continue
            if isinstance(body, Mapping) and isinstance(body.get("data"), Mapping):
                body = body["data"]
            if not isinstance(body, Mapping) or body.keys().isdisjoint(("healthy", "version")):
                continue
            version = clean(response.quote(str(body.get("version") or "2.x")))
            raise UnsupportedVersionError(
                f"this is an OpenCode server of the V2 line ({version}); needed is {SUPPORTED}", found=version
            )

    async def _refuse_others(self) -> None:
        """Raise if it is a server that we do not speak with; what else is the matter with it is not asked here.

        Raises:
            UnsupportedVersionError: It is.
        """
        try:
            await self.health()
        except UnsupportedVersionError:
            raise
        except WireError as error:
            _log.debug("not told who answers there: %s", error)

    async def _dialect(self) -> Dialect:
        """What the server speaks."""
        return LINES[0]

    async def _ask(self, *calls: Call[T]) -> T:
        """What the last of these calls is answered, which are made in their order."""
        for call in calls:
            found = await self._read(call.parse, await self._send(call.request), call.request.session_id)
        return found

    async def _page(self, call: Call[T]) -> tuple[T, str | None]:
        """One page of a list, and the cursor of the next one."""
        response = await self._send(call.request)

        def parse(body: Any) -> tuple[T, str | None]:
            return call.parse(body), call.next_page(body, response.headers)

        return await self._read(parse, response, call.request.session_id)

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
            except ServerUnreachableError as error:  # nothing was received: any request may be sent again
                _log.debug("sending again in %.1f s: %s", delay, error)
            except ConnectionLostError as error:
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
    """What an answer says.

    Raises:
        StatusError: Its subclass for the status.
        NotOpencodeError: It is not the JSON that was due.
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


def _is_supported(version: str) -> bool:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and (1, 18, 20) <= tuple(map(int, found.groups())) < (2,)
