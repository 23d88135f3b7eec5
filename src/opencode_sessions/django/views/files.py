"""The views of a message's files: the list, a download, a preview, the changes, all as a zip."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import models
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from opencode_sessions.django.clients import servers
from opencode_sessions.django.connections import give_back_connections
from opencode_sessions.django.files import file_of, key_of, service
from opencode_sessions.django.html import render_detail, render_files, render_preview
from opencode_sessions.django.registry import record_of
from opencode_sessions.django.sessions import session_for
from opencode_sessions.django.views.access import outside_transactions, seen
from opencode_sessions.files.errors import FileError
from opencode_sessions.host.files import NO_FILE, ServedFile, served_tool_file
from opencode_sessions.host.steering import Refused
from opencode_sessions.protocol.values import Message
from opencode_sessions.runtime.stepping import iterate_sync, run_sync
from opencode_sessions.texts import text

__all__ = ["archive", "changes", "download", "file", "files", "picture", "preview"]

_log = logging.getLogger("opencode_sessions.django")

_FRAGMENT = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; sandbox allow-downloads",
}
"""The headers of a part of a page that is opened by itself."""

View = Callable[..., HttpResponseBase]


def _of_message(view: View) -> View:
    """Make a view of a message that this user may see. A refusal is plain text."""

    @require_safe
    @outside_transactions
    @wraps(view)
    def call(request: HttpRequest, label: str, pk: str, **named: str) -> HttpResponseBase:
        message = seen(request, label, pk)
        try:
            return view(request, message, **named)
        except Refused as refused:
            return _said(str(refused), refused.status)
        except FileError as error:
            _log.warning("a file of %s: %s", message, error)
            return _said(text(NO_FILE), 404)

    return call


@_of_message
def files(request: HttpRequest, message: models.Model) -> HttpResponseBase:  # noqa: ARG001 - Django's
    """The list of the agent's files, as a part of a page."""
    return HttpResponse(render_files(message), headers=_FRAGMENT)


@_of_message
def download(request: HttpRequest, message: models.Model, file_id: str) -> HttpResponseBase:
    """One file, as a download."""
    found = file_of(message, file_id)
    served = run_sync(service().serve(found, request.headers, head=request.method == "HEAD"))
    return _response(request, served)


@_of_message
def preview(request: HttpRequest, message: models.Model, file_id: str) -> HttpResponseBase:  # noqa: ARG001
    """The preview of a file, as a part of a page."""
    found = file_of(message, file_id)
    shown = run_sync(service().preview(found))
    return HttpResponse(render_preview(shown, found, message), headers=_FRAGMENT)


@_of_message
def picture(request: HttpRequest, message: models.Model, file_id: str) -> HttpResponseBase:
    """A picture of a file, encoded again by us."""
    return _response(request, run_sync(service().picture(file_of(message, file_id), request.headers)))


@_of_message
def changes(request: HttpRequest, message: models.Model, file_id: str) -> HttpResponseBase:  # noqa: ARG001
    """The changes of a file since the version before, as a part of a page."""
    shown = run_sync(service().changes(file_of(message, file_id)))
    return HttpResponse(render_detail(shown), headers=_FRAGMENT)


@_of_message
def archive(request: HttpRequest, message: models.Model) -> HttpResponseBase:
    """All files that the agent has made, as one zip."""
    return _response(request, run_sync(service().all(message, key_of(message))))


@_of_message
def file(
    request: HttpRequest, message: models.Model, message_id: str, attachment_id: str
) -> HttpResponseBase:
    """A picture or a file that a tool returned."""

    async def fetch(session_id: str, message_id: str) -> Message:
        wire = session_for(record_of(message)).wire(servers())
        give_back_connections()
        return await wire.message(session_id, message_id)

    return _response(request, run_sync(served_tool_file(message, message_id, attachment_id, fetch)))


def _response(request: HttpRequest, served: ServedFile) -> HttpResponseBase:
    if isinstance(served.content, bytes):
        return HttpResponse(served.content, status=served.status, headers=dict(served.headers))
    pieces = iterate_sync(cast("Any", served.content))
    return StreamingHttpResponse(
        _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces,
        status=served.status,
        headers=dict(served.headers),
    )


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def take() -> bytes | None:
        try:
            return next(pieces, None)
        finally:
            give_back_connections()

    step = sync_to_async(take, thread_sensitive=False)
    try:
        while (piece := await step()) is not None:
            yield piece
    finally:
        with suppress(ValueError):  # it is being read, and ends afterwards
            cast("Any", pieces).close()


def _said(words: str, status: int) -> HttpResponse:
    return HttpResponse(words, status=status, content_type="text/plain; charset=utf-8")
