"""The routes of front ends that speak a chat protocol, whatever framework they came through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from opencode_sessions.display import Given
from opencode_sessions.host import AsyncHost, Refused
from opencode_sessions.host.agui import AGUI_CHAT
from opencode_sessions.host.chats import (
    MOST_BYTES,
    NO_CHAT,
    ChatProtocol,
    ChatRequest,
    Chats,
    ChatService,
    Turn,
)
from opencode_sessions.host.vercel import VERCEL_CHAT
from opencode_sessions.live.view import RenderContext
from opencode_sessions.starlette.turns import NOT_STORED, Turns, read_body, refusing, speaking_to
from opencode_sessions.store.turn_table import RowKey
from opencode_sessions.texts import language, text

__all__ = ["ChatRoute", "chat_routes_of"]

Endpoint = Callable[[Any, Request], Awaitable[Response]]


class ChatRoute(NamedTuple):
    """A route: of the user and the request, the response."""

    method: str
    path: str
    name: str
    endpoint: Endpoint


def chat_routes_of(
    host: AsyncHost, chats: Chats, who: Callable[[Any], str], seconds: float
) -> list[ChatRoute]:
    """All routes of all protocols.

    Args:
        host: Whose turns.
        chats: Their chats.
        who: Of the user, who stops a turn.
        seconds: How long a stream lasts at most.
    """
    turns = Turns(host, lambda _user, _message: False, seconds)
    found = []
    for name, protocol in (("vercel", VERCEL_CHAT), ("agui", AGUI_CHAT)):
        served = ServedChats(host, turns, chats, protocol, who)
        for method, path, suffix, endpoint in (
            ("POST", "", "", served.send),
            ("GET", "/{chat}", "_messages", served.messages),
            ("GET", "/{chat}/stream", "_stream", served.stream),
            ("POST", "/{chat}/stop", "_stop", served.stop),
        ):
            found.append(
                ChatRoute(method, f"/{name}{path}", name + suffix, _refusing(host, protocol, endpoint))
            )
    return found


def _refusing(host: AsyncHost, protocol: ChatProtocol, endpoint: Endpoint) -> Endpoint:
    async def answer(user: Any, request: Request) -> Response:
        try:
            with speaking_to(host, request):
                return await endpoint(user, request)
        except Refused as refused:
            status, content_type, body = protocol.refusal(refused)
            return Response(body, status, media_type=content_type, headers=NOT_STORED)

    return answer


class ServedChats:
    """The chats of a host in one protocol; a `Steering`.

    Args:
        host: Whose turns.
        turns: What a request does to them.
        chats: The host's.
        protocol: How they are told.
        who: Of the user, who stops a turn.
    """

    def __init__(
        self, host: AsyncHost, turns: Turns, chats: Chats, protocol: ChatProtocol, who: Callable[[Any], str]
    ) -> None:
        self._host = host
        self._turns = turns
        self._service = ChatService(protocol, chats, self)
        self._protocol = protocol
        self._who = who

    async def send(self, user: Any, request: Request) -> Response:
        """Do what a front end wants, and tell the turn that it is about."""
        body = await read_body(request.stream(), MOST_BYTES)
        wanted = self._protocol.read(body, request.headers, request.path_params.get("chat"))
        return await self._told(user, await refusing(self._service.turn(wanted, user)), wanted)

    async def stream(self, user: Any, request: Request) -> Response:
        """Tell the chat's newest turn, from its beginning."""
        wanted = ChatRequest(chat=request.path_params["chat"])
        newest = await self._service.newest(user, wanted.chat)
        if newest is None:
            return Response(status_code=204)
        return await self._told(user, Turn(newest), wanted)

    async def messages(self, user: Any, request: Request) -> Response:
        """All that was said in a chat, as its front end keeps it."""
        told = await self._service.messages(user, request.path_params["chat"], lambda _: RenderContext())
        return JSONResponse(told, headers=NOT_STORED)

    async def stop(self, user: Any, request: Request) -> Response:
        """End the chat's newest turn, wherever it runs."""
        newest = await self._service.newest(user, request.path_params["chat"])
        if newest is not None:
            await self._turns.cancel(newest, self._who(user))
        return Response(status_code=204)

    def key_of(self, message: Any) -> RowKey:
        """See `Steering.key_of`."""
        return self._host.table.key_of(message)

    async def answer(self, message: Any, given: Given) -> None:
        """See `Steering.answer`."""
        await self._turns.answer(message, given)

    async def retry(self, message: Any) -> Any:
        """See `Steering.retry`."""
        return await self._host.retry(message)

    async def _told(self, user: Any, turn: Turn, wanted: ChatRequest) -> Response:
        key = self.key_of(turn.message)
        row = await self._host.table.row(key)
        if row is None:
            raise Refused(404, text(NO_CHAT))
        context = await self._service.context(wanted, user, turn.message)
        context = replace(context, language=language())
        return self._turns.stream(
            key,
            row,
            context,
            encoder=self._protocol.encoder,
            headers=self._protocol.headers,
            answered=turn.answered,
        )
