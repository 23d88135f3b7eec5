"""The view that streams a turn to a browser, as server-sent events.

A stream lasts for `OPENCODE["STREAM_SECONDS"]`, at most a minute. Then the browser reconnects and goes on where it was.
So its login and its rights are checked at least once a minute, by an ordinary request. A check within the stream would
only see the values that the project's middleware stored in the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.db import models
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from opencode_sessions.django.addresses import address, files_of
from opencode_sessions.django.conf import settings
from opencode_sessions.django.live_hub import HTML, aopening, hub, opening, rows
from opencode_sessions.django.views.access import few_at_once, outside_transactions, root_of, seen
from opencode_sessions.host.chats import name_of
from opencode_sessions.live import RenderContext, WatchRequest, astream, stream
from opencode_sessions.store.turn_table import TurnRow
from opencode_sessions.texts import language

__all__ = ["events", "told"]

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would otherwise collect some kilobytes of events
    "Content-Encoding": "identity",  # so would compression; Django's GZipMiddleware leaves this alone
}


@require_GET
@outside_transactions
@few_at_once
def events(request: HttpRequest, label: str, pk: str) -> HttpResponseBase:
    """The events of a turn, from the browser's revision to the turn's end; see docs/django-views.md."""
    message = seen(request, label, pk)
    turn = name_of(rows.key_of(message))
    context = RenderContext(
        action=address("answer", message),
        root=root_of(message),
        files=files_of(message),
        turn=turn,
        language=language(),
    )
    has = _revision(request.headers.get("Last-Event-ID") or request.GET.get("after", ""))
    return told(request, message, context, encoder=HTML, has=has, seconds=settings().stream_seconds)


def told(
    request: HttpRequest,
    message: models.Model,
    context: RenderContext,
    *,
    headers: Mapping[str, str] = _HEADERS,
    **watched: Any,
) -> StreamingHttpResponse:
    """A turn as an encoder tells it.

    Args:
        request: Whose user watches.
        message: Whose turn.
        context: What the row does not tell.
        headers: Those of the protocol.
        watched: What else `WatchRequest` takes.
    """
    # All of it here: an event loop's thread knows no tenant, and to know the user may take a query.
    wanted = WatchRequest(
        key=rows.key_of(message),
        row=TurnRow.of(message),
        context=context,
        who=getattr(getattr(request, "user", None), "pk", None),
        **watched,
    )
    kind = wanted.encoder.content_type
    return StreamingHttpResponse(_frames(request, wanted), content_type=kind, headers={**_HEADERS, **headers})


def _frames(request: HttpRequest, watched: WatchRequest) -> Iterator[bytes] | AsyncIterator[bytes]:
    asynchronous = isinstance(request, ASGIRequest)
    if asynchronous:
        return astream(hub, watched, opening=aopening)
    return stream(hub, watched, opening=opening)


def _revision(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else None  # noqa: PLR2004 - digits
