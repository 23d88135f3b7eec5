"""The views for front ends with a chat protocol, over the chats in `OPENCODE["CHATS"]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from opencode_sessions.display import Given
from opencode_sessions.django.addresses import files_of
from opencode_sessions.django.conf import settings
from opencode_sessions.django.connections import give_back_connections
from opencode_sessions.django.files import key_of, service
from opencode_sessions.django.live_hub import rows
from opencode_sessions.django.tenants import inside
from opencode_sessions.django.views.access import few_at_once, outside_transactions, root_of
from opencode_sessions.django.views.events import told
from opencode_sessions.django.views.steering import give, retried, stop
from opencode_sessions.errors import AskAnsweredError, ConfigurationError, WireError
from opencode_sessions.files.errors import UploadError
from opencode_sessions.files.message_files import MessageFile
from opencode_sessions.host import Refused
from opencode_sessions.host.agui import AGUI_CHAT
from opencode_sessions.host.chats import (
    ChatProtocol,
    ChatRequest,
    ChatService,
    Turn,
)
from opencode_sessions.host.steering import refusal_of
from opencode_sessions.host.vercel import VERCEL_CHAT
from opencode_sessions.live.view import RenderContext
from opencode_sessions.live.watch_request import Made
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.turn_table import RowKey
from opencode_sessions.texts import language

__all__ = ["chat_urls"]

T = TypeVar("T")


def chat_urls() -> list[URLPattern]:
    """The URLs of all protocols: `chats/vercel`, and those below it."""
    found = []
    for name, protocol in (("vercel", VERCEL_CHAT), ("agui", AGUI_CHAT)):
        served = _ServedChats(protocol)
        for address, view, method, suffix in (
            ("", served.send, "POST", ""),
            ("/<str:chat>", served.messages, "GET", "_messages"),
            ("/<str:chat>/stream", few_at_once(served.stream), "GET", "_stream"),
            ("/<str:chat>/stop", served.stop, "POST", "_stop"),
        ):
            found.append(path(f"chats/{name}{address}", _view(served, view, method), name=name + suffix))
    return found


class _ServedChats:
    """The chats of a project in one protocol; a `Steering`. With `_view`, each method is a view."""

    def __init__(self, protocol: ChatProtocol) -> None:
        self.protocol = protocol

    @property
    def _service(self) -> ChatService:
        chats = settings().chats
        if chats is None:
            raise Http404(
                'OPENCODE["CHATS"] does not say what the chats of this project are: see docs/vercel.md'
            )
        return ChatService(self.protocol, chats, self, settings().uploads)

    def send(self, request: HttpRequest, chat: str | None = None) -> HttpResponseBase:
        """Carry out a request, and stream its turn."""
        service = self._service
        wanted = self._read(request, chat, service.most_bytes)
        return self._told(request, run_sync(service.turn(wanted, request)), wanted)

    def stream(self, request: HttpRequest, chat: str) -> HttpResponseBase:
        """Stream the chat's newest turn, from its beginning."""
        newest = run_sync(self._service.newest(request, chat))
        if newest is None:
            return HttpResponse(status=204)
        return self._told(request, Turn(newest), ChatRequest(chat=chat))

    def messages(self, request: HttpRequest, chat: str) -> HttpResponseBase:
        """All messages of a chat, in the front end's form."""
        said = run_sync(self._service.messages(request, chat))
        return JsonResponse(said, safe=False, headers={"Cache-Control": "no-store"})

    def stop(self, request: HttpRequest, chat: str) -> HttpResponseBase:
        """Cancel the chat's newest turn, in whatever process it runs."""
        newest = run_sync(self._service.newest(request, chat))
        if newest is not None:
            stop(request, newest)
        return HttpResponse(status=204)

    def refusal(self, refused: Refused) -> HttpResponse:
        """The response that refuses a request."""
        status, content_type, body = self.protocol.refusal(refused)
        return HttpResponse(body, status=status, content_type=content_type)

    def key_of(self, message: Any) -> RowKey:
        """See `Steering.key_of`."""
        return rows.key_of(message)

    async def answer(self, message: Any, given: Given) -> None:
        """See `Steering.answer`."""
        give(message, given)

    async def retry(self, message: Any) -> Any:
        """See `Steering.retry`."""
        return retried(message)

    def context_of(self, message: Any) -> RenderContext:
        """See `Steering.context_of`."""
        return RenderContext(root=root_of(message), files=files_of(message), language=language())

    async def files_of(self, message: Any) -> Sequence[MessageFile]:
        """See `Steering.files_of`."""
        return await service().list(message, key_of(message))

    async def are_due(self, message: Any) -> bool:
        """See `Steering.are_due`."""
        return await service().are_collected_later(key_of(message))

    async def render(self, rendering: Callable[[], T]) -> T:
        """See `Steering.render`. A view has a thread of its own."""
        return rendering()

    def _read(self, request: HttpRequest, chat: str | None, most: int) -> ChatRequest:
        body = request.read(most + 1)
        if len(body) > most:
            raise Refused(413, f"The body may have {most // 1024} KiB at most.")
        return self.protocol.read(body, request.headers, chat)

    def _told(self, request: HttpRequest, turn: Turn, wanted: ChatRequest) -> HttpResponseBase:
        message: models.Model = turn.message
        service = self._service
        context = run_sync(service.context(wanted, request, message))
        return told(
            request,
            message,
            context,
            encoder=self.protocol.encoder,
            headers=self.protocol.headers,
            answered=turn.answered,
            made=_made(request, service, message),
            seconds=settings().chat_seconds,
        )


def _made(request: HttpRequest, service: ChatService, message: models.Model) -> Made:
    tenant = rows.key_of(message).tenant

    def look() -> list[dict[str, Any]] | None:
        try:
            with inside(tenant):
                return run_sync(service.made(message))
        finally:
            give_back_connections()

    async def made() -> list[dict[str, Any]] | None:
        return await in_thread() if isinstance(request, ASGIRequest) else look()

    in_thread = sync_to_async(look, thread_sensitive=False)
    return made


def _view(
    served: _ServedChats, act: Callable[..., HttpResponseBase], method: str
) -> Callable[..., HttpResponseBase]:
    @require_http_methods([method])
    @csrf_protect
    @outside_transactions
    @wraps(act)
    def view(request: HttpRequest, **named: str) -> HttpResponseBase:
        try:
            return act(request, **named)
        except Refused as refused:
            return served.refusal(refused)
        except (AskAnsweredError, UploadError, WireError) as error:
            return served.refusal(refusal_of(error))
        except ConfigurationError as error:
            return served.refusal(Refused(400, str(error)))

    return view
