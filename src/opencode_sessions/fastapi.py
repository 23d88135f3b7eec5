"""FastAPI: a router that shows and controls turns.

::

    opencode = AsyncHost(HostSettings(permissions_for=…), tables=[SQLAlchemyTurnTable(Message, sessionmaker)])
    app = FastAPI(lifespan=opencode.lifespan)
    app.include_router(turn_router(opencode, user=current_user, may_see=owns), prefix="/turns")
"""

# ruff: noqa: FAST003 - the dependency takes what the path names
# No annotations from the future: FastAPI would look for the names that are local here in the module.

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from opencode_sessions.host import AsyncHost, HostSettings, Refused
from opencode_sessions.host.chats import CHAT_SECONDS, Chats
from opencode_sessions.host.steering import nobody
from opencode_sessions.starlette.chats import ChatRoute, chat_routes_of
from opencode_sessions.starlette.files import Files
from opencode_sessions.starlette.turns import (
    NOT_STORED,
    AnswerGiven,
    MaySee,
    Turns,
    read_body,
    read_json,
    speaking_to,
)

__all__ = ["AsyncHost", "HostSettings", "Refused", "chat_router", "turn_router"]

T = TypeVar("T")


class Retried(BaseModel):
    """The message of the retry.

    Attributes:
        table: The message's table.
        pk: The message's primary key.
    """

    table: str
    pk: str


class Refusal(BaseModel):
    """The reason of a refusal.

    Attributes:
        detail: A text for people.
    """

    detail: str = Field(description="In words for people.")


def _request(request: Request) -> Request:
    return request


class _ShortRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await _doing(read_body(self.stream()))
        return self._body


def _route_class(host: AsyncHost) -> type[APIRoute]:
    class ShortRoute(APIRoute):
        """Speaks the request's language.

        It refuses long bodies, because FastAPI reads the whole body before it checks the user.
        """

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_short(request: Request) -> Response:
                with speaking_to(host, request):
                    short = _ShortRequest(request.scope, request.receive)
                    try:
                        return await handle(short)
                    except RequestValidationError as error:
                        if all(each["loc"][0] != "body" for each in error.errors()):
                            raise
                        _json_of(await short.body())
                        raise _without_the_body(error) from None

            return handle_short

    return ShortRoute


def _responses(**said: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"description": words, "model": Refusal} for status, words in said.items()}


_UNSEEN = _responses(_404="There is no such turn, or not for this user.")
_EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "id": {"type": "string"}, "data": {"type": "string"}},
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Its events.", "content": {"text/event-stream": {"itemSchema": _EVENT}}}
}
_PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The part that `Range` names."},
    304: {"description": "It is as `If-None-Match` says."},
    416: {"description": "It has no such part."},
}
_NO_FILE = _responses(_404="There is no such turn or file, or not for this user.")
_JSON: dict[int | str, dict[str, Any]] = {
    200: {"description": "As JSON.", "content": {"application/json": {}}}
}
_LATE = "It is too late: the turn has ended, or the ask was answered or has changed."
_AWAY = "The OpenCode server cannot be reached now."


def turn_router(
    host: AsyncHost,
    *,
    user: Callable[..., Any] = _request,
    may_see: MaySee = nobody,
    who: Callable[[Any], str] = lambda _: "visitor",
    seconds: float = 60.0,
) -> APIRouter:
    """A router with `/{table}/{pk}/events`, `asks/{ask}`, `answer`, `cancel` and `retry`, and a message's files.

    These are `files`, `files.zip`, `files/{file}`, and below that `preview`, `picture` and `changes`.

    Args:
        host: The host of the turns.
        user: A dependency that returns the current user; by default the request.
        may_see: A function of the user and a message: may this user see and control its turn? It may suspend. The
            message's relationships are not loaded. By default the answer is no.
        who: Returns the user's name, for the row's `error` after a cancel.
        seconds: How long a stream lasts before the browser reconnects, and `user` and `may_see` are called again.
    """
    turns, router = Turns(host, may_see, seconds), APIRouter(tags=["turns"], route_class=_route_class(host))
    User = Annotated[Any, Depends(user)]  # noqa: N806 - a type

    async def message(table: str, pk: str, user: User) -> Any:
        try:
            return await turns.message(user, table, pk)
        except Refused as refused:
            raise _answer_of(refused) from refused

    Message = Annotated[Any, Depends(message)]  # noqa: N806 - likewise

    @router.get(
        "/{table}/{pk}/events",
        response_class=Response,
        responses={**_EVENTS, **_UNSEEN},
    )
    async def events(
        request: Request,
        message: Message,
        after: Annotated[str, Query(description="The revision that is shown already.")] = "",
        last_event_id: Annotated[str, Header(description="Likewise, as browsers send it.")] = "",
    ) -> Response:
        """Tell a turn from what is shown already until its end, as server-sent events of JSON."""
        del last_event_id  # it is among the request's headers
        base = f"{request.url.path.removesuffix('/events')}/files/"
        return turns.events(message, request.headers, after, files=base)

    @router.get("/{table}/{pk}/asks/{ask}", responses={**_UNSEEN, **_responses(_409=_LATE)})
    async def asked(message: Message, ask: str, response: Response) -> dict[str, Any]:
        """Show an ask with nothing left out: the events shorten a long one, and say so in its `left_out`."""
        response.headers.update(NOT_STORED)
        return await _doing(turns.asked(message, ask))

    @router.post(
        "/{table}/{pk}/answer",
        status_code=204,
        responses={
            **_UNSEEN,
            **_responses(
                _400="It is no JSON, or no answer to what is asked.",
                _403="Nothing is allowed for always here.",
                _409=_LATE,
                _413="The body is too long.",
                _503=_AWAY,
            ),
        },
    )
    async def answer(message: Message, given: AnswerGiven) -> None:
        """Answer what the agent asks."""
        await _doing(turns.answer(message, given))

    @router.post(
        "/{table}/{pk}/cancel", status_code=204, responses={**_UNSEEN, **_responses(_409=_LATE, _503=_AWAY)}
    )
    async def cancel(message: Message, user: User) -> None:
        """End a turn, wherever it runs. One that is cancelled already is left so."""
        await _doing(turns.cancel(message, who(user)))

    @router.post(
        "/{table}/{pk}/retry",
        responses={**_UNSEEN, **_responses(_409="It did not fail, and was not cancelled.", _503=_AWAY)},
    )
    async def retry(message: Message) -> Retried:
        """Ask again what failed or was cancelled, in a new message; however often it is asked for, in one."""
        table, pk = await _doing(turns.retry(message))
        return Retried(table=table, pk=pk)

    _add_files(router, Files(host), Message)
    return router


def _add_files(router: APIRouter, files: Files, Message: Any) -> None:  # noqa: N803 - a type
    """Add the routes of a message's files."""
    File = Annotated[str, Path(description="Its `id` in the list.")]  # noqa: N806 - likewise
    get = partial(router.get, response_class=Response, responses=_NO_FILE)

    @get("/{table}/{pk}/files", responses={**_JSON, **_UNSEEN})
    async def files_of(request: Request, message: Message) -> Response:
        """List the files that were sent with a message, and those that its turn has made."""
        return await _doing(files.listed(message, request))

    @get("/{table}/{pk}/files.zip")
    async def archive(request: Request, message: Message) -> Response:
        """Download all files that the turn has made, as one zip."""
        return await _doing(files.archive(message, request))

    @get("/{table}/{pk}/files/{file}/preview", responses={**_JSON, **_NO_FILE})
    async def preview(request: Request, message: Message, file: File) -> Response:  # noqa: ARG001 - of the path
        """Show what can be shown of a file."""
        return await _doing(files.preview(message, request))

    @get("/{table}/{pk}/files/{file}/picture")
    async def picture(request: Request, message: Message, file: File) -> Response:  # noqa: ARG001 - likewise
        """Draw a file anew, as WebP."""
        return await _doing(files.picture(message, request))

    @get("/{table}/{pk}/files/{file}/changes", responses={**_JSON, **_NO_FILE})
    async def changes(request: Request, message: Message, file: File) -> Response:  # noqa: ARG001 - likewise
        """Show what has changed in a file since the version before."""
        return await _doing(files.changes(message, request))

    @get(
        "/{table}/{pk}/files/{told}/{attachment}",
        responses={**_NO_FILE, **_responses(_503=_AWAY)},
        name="opencode:file",  # the chats look it up
    )
    async def of_tool(request: Request, message: Message, told: str, attachment: str) -> Response:  # noqa: ARG001
        """Download a picture or a file that a tool returned; a picture is shown as such."""
        return await _doing(files.of_tool(message, request))

    @get("/{table}/{pk}/files/{file}", responses={**_NO_FILE, **_PARTS})
    async def download(request: Request, message: Message, file: File) -> Response:  # noqa: ARG001 - likewise
        """Download a file, or a part of it."""
        return await _doing(files.download(message, request))


def chat_router(
    host: AsyncHost,
    chats: Chats,
    *,
    user: Callable[..., Any] = _request,
    who: Callable[[Any], str] = lambda _: "visitor",
    seconds: float = CHAT_SECONDS,
) -> APIRouter:
    """A router for front ends of chat protocols, with `/vercel` and what is below it; see docs/vercel.md.

    Args:
        host: The host of the turns.
        chats: The host's chats.
        user: A dependency that returns the current user; by default the request.
        who: Returns the user's name, for the row's `error` after a cancel.
        seconds: How long a stream lasts before the front end reconnects, and `user` and `chats` are called again.
    """
    router = APIRouter(tags=["chats"])
    User = Annotated[Any, Depends(user)]  # noqa: N806 - a type

    def endpoint_of(route: ChatRoute) -> Callable[..., Coroutine[Any, Any, Response]]:
        async def endpoint(request: Request, user: User) -> Response:
            return await route.endpoint(user, request)

        return endpoint

    for each in chat_routes_of(host, chats, who, seconds):
        router.add_api_route(
            each.path,
            endpoint_of(each),
            methods=[each.method],
            name=f"opencode:{each.name}",
            operation_id=each.name,
            response_class=Response,
            include_in_schema=False,  # their bodies are the protocols', not ours
        )
    return router


def _without_the_body(error: RequestValidationError) -> RequestValidationError:
    """The same, without what it would repeat of the body: FastAPI's response fails for one that is deeply nested."""
    return RequestValidationError(
        [
            {name: value for name, value in each.items() if name not in ("input", "ctx")}
            for each in error.errors()
        ]
    )


def _json_of(body: bytes) -> None:
    try:
        read_json(body)
    except Refused as refused:
        raise _answer_of(refused) from refused


async def _doing(doing: Awaitable[T]) -> T:
    try:
        return await doing
    except Refused as refused:
        raise _answer_of(refused) from refused


def _answer_of(refused: Refused) -> HTTPException:
    return HTTPException(refused.status, detail=str(refused))
