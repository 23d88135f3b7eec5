"""`turn_routes` and `chat_routes`: what Starlette mounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from opencode_sessions.host import AsyncHost, Refused
from opencode_sessions.host.chats import CHAT_SECONDS, Chats
from opencode_sessions.host.steering import nobody
from opencode_sessions.starlette.chats import ChatRoute, chat_routes_of
from opencode_sessions.starlette.files import Files
from opencode_sessions.starlette.turns import NOT_STORED, MaySee, Turns, read_answer, read_body, speaking_to

__all__ = ["chat_routes", "turn_routes"]

Endpoint = Callable[[Request], Awaitable[Response]]


def turn_routes(
    host: AsyncHost,
    *,
    may_see: MaySee = nobody,
    who: Callable[[Request], str] = lambda _: "visitor",
    seconds: float = 60.0,
) -> list[Route]:
    """Routes for `Mount("/turns", routes=turn_routes(…))`.

    They are `{table}/{pk}/events`, `asks/{ask}`, `answer`, `cancel` and `retry`; and `files`, `files.zip`,
    `files/{file}`, with `preview`, `picture` and `changes` below that.

    Args:
        host: Whose turns.
        may_see: Of a request and a message: may this user see its turn, and steer it? It may suspend. By default nobody
            may.
        who: Of a request, who cancels, for the row's `error`.
        seconds: How long a stream lasts before the browser connects again, and `may_see` is asked again.
    """
    turns = Turns(host, may_see, seconds)

    async def message(request: Request) -> Any:
        return await turns.message(request, request.path_params["table"], request.path_params["pk"])

    async def events(request: Request) -> Response:
        after, base = (
            request.query_params.get("after", ""),
            f"{request.url.path.removesuffix('/events')}/files/",
        )
        return turns.events(await message(request), request.headers, after, files=base)

    async def asked(request: Request) -> Response:
        return JSONResponse(
            await turns.asked(await message(request), request.path_params["ask"]), headers=NOT_STORED
        )

    async def answer(request: Request) -> Response:
        found = await message(request)
        await turns.answer(found, read_answer(await read_body(request.stream())))
        return Response(status_code=204)

    async def cancel(request: Request) -> Response:
        await turns.cancel(await message(request), who(request))
        return Response(status_code=204)

    async def retry(request: Request) -> Response:
        table, pk = await turns.retry(await message(request))
        return JSONResponse({"table": table, "pk": pk})

    shown = Route("/{table}/{pk}/events", _refusing(host, events), name="opencode:events")
    shown.methods = {"GET"}  # Starlette adds HEAD, which would watch the turn to its end
    return [
        shown,
        Route("/{table}/{pk}/asks/{ask}", _refusing(host, asked), name="opencode:asked"),
        *(
            Route(
                f"/{{table}}/{{pk}}/{act.__name__}",
                _refusing(host, act),
                methods=["POST"],
                name=f"opencode:{act.__name__}",
            )
            for act in (answer, cancel, retry)
        ),
        *_file_routes(host, message),
    ]


def _file_routes(host: AsyncHost, message_of: Callable[[Request], Awaitable[Any]]) -> list[Route]:
    files = Files(host)

    def route(name: str, path: str, act: Callable[[Any, Request], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await act(await message_of(request), request)

        return Route(f"/{{table}}/{{pk}}/{path}", _refusing(host, endpoint), name=f"opencode:{name}")

    return [
        route("files", "files", files.listed),
        route("archive", "files.zip", files.archive),
        route("preview", "files/{file}/preview", files.preview),
        route("picture", "files/{file}/picture", files.picture),
        route("changes", "files/{file}/changes", files.changes),
        route("file", "files/{told}/{attachment}", files.of_tool),
        route("download", "files/{file}", files.download),
    ]


def chat_routes(
    host: AsyncHost,
    chats: Chats,
    *,
    who: Callable[[Request], str] = lambda _: "visitor",
    seconds: float = CHAT_SECONDS,
) -> list[Route]:
    """Routes for `Mount("/chats", routes=chat_routes(…))`: `vercel`, and what is below it; see docs/vercel.md.

    Args:
        host: Whose turns.
        chats: The host's chats, whose users are the requests.
        who: Of a request, who stops a turn, for the row's `error`.
        seconds: How long a stream lasts before the front end connects again, and `chats` is asked again.
    """

    def endpoint_of(route: ChatRoute) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await route.endpoint(request, request)

        return endpoint

    found = []
    for each in chat_routes_of(host, chats, who, seconds):
        found.append(Route(each.path, endpoint_of(each), name=f"opencode:{each.name}"))
        found[-1].methods = {each.method}  # see above
    return found


def _refusing(
    host: AsyncHost, endpoint: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    @wraps(endpoint)
    async def call(request: Request) -> Response:
        try:
            with speaking_to(host, request):
                return await endpoint(request)
        except Refused as refused:
            return JSONResponse({"detail": str(refused)}, status_code=refused.status)

    return call
