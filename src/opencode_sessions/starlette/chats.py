"""The routes of front ends that speak a chat protocol, whatever framework they came through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import NoMatchFound

from opencode_sessions.display import Given
from opencode_sessions.files.message_files import MessageFile
from opencode_sessions.host import AsyncHost, Refused
from opencode_sessions.host.agui import AGUI_CHAT
from opencode_sessions.host.chats import (
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

T = TypeVar("T")
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
    """The chats of a host in one protocol.

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
        self._chats = chats
        self._protocol = protocol
        self._who = who

    async def send(self, user: Any, request: Request) -> Response:
        """Do what a front end wants, and tell the turn that it is about."""
        service = self._service(request)
        body = await read_body(request.stream(), service.most_bytes)
        chat = request.path_params.get("chat")
        # In a thread: with files it is large.
        wanted = await asyncio.to_thread(self._protocol.read, body, request.headers, chat)
        return await self._told(user, service, await refusing(service.turn(wanted, user)), wanted)

    async def stream(self, user: Any, request: Request) -> Response:
        """Tell the chat's newest turn, from its beginning."""
        service, wanted = self._service(request), ChatRequest(chat=request.path_params["chat"])
        newest = await service.newest(user, wanted.chat)
        if newest is None:
            return Response(status_code=204)
        return await self._told(user, service, Turn(newest), wanted)

    async def messages(self, user: Any, request: Request) -> Response:
        """All that was said in a chat, as its front end keeps it."""
        told = await self._service(request).messages(user, request.path_params["chat"])
        # In a thread: a long chat has megabytes.
        return await asyncio.to_thread(JSONResponse, told, headers=NOT_STORED)

    async def stop(self, user: Any, request: Request) -> Response:
        """End the chat's newest turn, wherever it runs."""
        newest = await self._service(request).newest(user, request.path_params["chat"])
        if newest is not None:
            await self._turns.cancel(newest, self._who(user))
        return Response(status_code=204)

    def _service(self, request: Request) -> ChatService:
        steering = _Steering(self._host, self._turns, request)
        return ChatService(self._protocol, self._chats, steering, self._host.settings.uploads)

    async def _told(self, user: Any, service: ChatService, turn: Turn, wanted: ChatRequest) -> Response:
        key = self._host.table.key_of(turn.message)
        row = await self._host.table.row(key)
        if row is None:
            raise Refused(404, text(NO_CHAT))
        context = await service.context(wanted, user, turn.message)
        return self._turns.stream(
            key,
            row,
            context,
            encoder=self._protocol.encoder,
            headers=self._protocol.headers,
            answered=turn.answered,
            made=partial(service.made, turn.message),
        )


class _Steering:
    """A `Steering`.

    Args:
        host: Whose turns.
        turns: What a request does to them.
        request: Whose app has the routes of files.
    """

    def __init__(self, host: AsyncHost, turns: Turns, request: Request) -> None:
        self._host = host
        self._turns = turns
        self._request = request

    def key_of(self, message: Any) -> RowKey:
        """See `Steering.key_of`."""
        return self._host.table.key_of(message)

    async def answer(self, message: Any, given: Given) -> None:
        """See `Steering.answer`."""
        await self._turns.give(message, given)

    async def retry(self, message: Any) -> Any:
        """See `Steering.retry`."""
        return await self._host.retry(message)

    def context_of(self, message: Any) -> RenderContext:
        """See `Steering.context_of`."""
        return RenderContext(files=files_base(self._request, self.key_of(message)), language=language())

    async def files_of(self, message: Any) -> Sequence[MessageFile]:
        """See `Steering.files_of`."""
        return await self._host.files.list(message, self._store_key(message))

    async def are_due(self, message: Any) -> bool:
        """See `Steering.are_due`."""
        return await self._host.files.are_collected_later(self._store_key(message))

    async def render(self, rendering: Callable[[], T]) -> T:
        """See `Steering.render`."""
        return await asyncio.to_thread(rendering)

    def _store_key(self, message: Any) -> str:
        table = self._host.table
        return table.store(table.job_of(message), message).key


def files_base(request: Request, key: RowKey) -> str:
    """The address of a message's files; empty if this app has no routes of turns."""
    named = {"table": quote(key.table, safe=""), "pk": quote(key.pk, safe="")}
    try:
        address = request.url_for("opencode:file", **named, told="-", attachment="-")
    except NoMatchFound:
        return ""
    return address.path.removesuffix("-/-")
