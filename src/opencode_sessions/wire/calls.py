"""Asking a server: a request is sent, again where that cannot change the outcome, and its answer parsed.

Where the answer is none of a server that we speak with, it is asked who it is: that is then what is said.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from opencode_sessions.errors import (
    ConnectionLostError,
    NotFoundError,
    NotOpencodeError,
    RequestTimedOutError,
    ServerError,
    ServerUnreachableError,
    UnsupportedVersionError,
    WireError,
)
from opencode_sessions.protocol.places import directory_of
from opencode_sessions.protocol.values import Health
from opencode_sessions.wire.http import Request, Response, Transport, facts, interpret
from opencode_sessions.wire.runtime import Runtime
from opencode_sessions.wire.v1 import answers, routes

__all__ = ["SUPPORTED", "Calls"]

T = TypeVar("T")

SUPPORTED = ">=1.18, <2"

_BACKOFF = (0.1, 0.4)
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
            found = _understood(answers.parse_health, await self._send(routes.health()))
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
            raise UnsupportedVersionError(
                f"this is OpenCode {found.version}; needed is {SUPPORTED}", found=found.version
            )
        return found

    async def _refuse_v2(self) -> None:
        """The V2 line has no `/global/health`, but says its version at `/api/health`."""
        try:
            body = interpret(await self._send(Request("GET", "/api/health", repeatable=True)))
        except WireError:
            return
        if not isinstance(body, Mapping) or body.keys().isdisjoint(("healthy", "version")):
            return
        version = str(body.get("version") or "2.x")
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

    async def _json(self, request: Request) -> Any:
        return await self._parsed(lambda body: body, request)

    async def _parsed(self, parse: Callable[[Any], T], request: Request) -> T:
        return await self._read(parse, await self._send(request), request.session_id)

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
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (1, 18) <= (int(found[1]), int(found[2])) < (2, 0)
