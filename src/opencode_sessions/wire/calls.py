"""Asking a server: a request is sent, again where that cannot change the outcome, and its answer parsed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from opencode_sessions.errors import (
    ConnectionLostError,
    NotOpencodeError,
    RequestTimedOutError,
    ServerUnreachableError,
)
from opencode_sessions.wire.http import Request, Response, Transport, facts, interpret
from opencode_sessions.wire.runtime import Runtime

__all__ = ["Calls"]

T = TypeVar("T")

_BACKOFF = (0.1, 0.4)
_GATEWAY_STATUSES = (502, 503, 504)

_log = logging.getLogger("opencode_sessions.wire")


class Calls:
    """One server, seen from one directory."""

    def __init__(self, transport: Transport, runtime: Runtime, *, directory: str | None = None) -> None:
        self._transport = transport
        self.clock = runtime
        self.directory = directory

    async def _json(self, request: Request) -> Any:
        return interpret(await self._send(request), session_id=request.session_id)

    async def _parsed(self, parse: Callable[[Any], T], request: Request) -> T:
        return self._read(parse, await self._send(request), request.session_id)

    def _read(self, parse: Callable[[Any], T], response: Response, session_id: str | None = None) -> T:
        body = interpret(response, session_id=session_id)
        try:
            return parse(body)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise NotOpencodeError(
                f"{response.request} answered with JSON of an unknown shape ({type(error).__name__}: {error}): "
                "is that an OpenCode 1.x server? `opencode-sessions doctor` looks at it",
                **facts(response),
            ) from error

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
