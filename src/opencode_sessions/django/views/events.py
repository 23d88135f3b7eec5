"""The view that streams a turn to a browser, as server-sent events.

A stream lasts for `OPENCODE["STREAM_SECONDS"]`, a minute at most. Then the browser connects again and goes on where it
was. So its login and its rights are checked at least once a minute, by an ordinary request: a check within the stream
would see what the project's middleware had kept in the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from django.core.handlers.asgi import ASGIRequest
from django.db import models
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from opencode_sessions.django.addresses import address, files_of
from opencode_sessions.django.conf import settings
from opencode_sessions.django.live import astream, stream
from opencode_sessions.django.live.drawing import Row, Surroundings, draw_row
from opencode_sessions.django.live.looking import Target
from opencode_sessions.django.live.picture import Picture
from opencode_sessions.django.live.streams import RETRY
from opencode_sessions.django.views.access import outside_transactions, root_of, seen
from opencode_sessions.store.messages import TurnStatus

__all__ = ["events"]

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep the events until it has some kilobytes of them
    "Content-Encoding": "identity",  # so would what compresses: Django's GZipMiddleware leaves this alone
}


@require_GET
@outside_transactions
def events(request: HttpRequest, label: str, pk: str) -> HttpResponseBase:
    """The events of a turn, from what the browser has until the turn's end; see docs/django-views.md."""
    message = seen(request, label, pk)
    around = Surroundings(address("answer", message), root_of(message), files_of(message))
    has = _revision(request.headers.get("Last-Event-ID") or request.GET.get("after", ""))
    return StreamingHttpResponse(
        _frames(request, message, around, has),
        content_type="text/event-stream; charset=utf-8",
        headers=_HEADERS,
    )


def _frames(
    request: HttpRequest, message: models.Model, around: Surroundings, has: int | None
) -> Iterator[bytes] | AsyncIterator[bytes]:
    asynchronous = isinstance(request, ASGIRequest)
    # Not in the generators: to know the user may take a query.
    who = getattr(getattr(request, "user", None), "pk", None)
    seconds = settings().stream_seconds
    if TurnStatus(message.status).terminal:  # type: ignore[attr-defined]  # MessageModel
        frames = _ended(Row.of(message), around, has)
        return _each(frames) if asynchronous else iter(frames)
    # Here too: an event loop's thread knows no tenant.
    target = Target.of(message)
    return (astream if asynchronous else stream)(
        target, Row.of(message), around, has=has, who=who, seconds=seconds
    )


def _ended(row: Row, around: Surroundings, has: int | None) -> list[bytes]:
    """All that there is to tell of a turn that has ended."""
    picture = Picture()
    picture.take(draw_row(row, None, around))
    return [RETRY, *([] if has == row.revision and has else [picture.state()]), picture.end()]


async def _each(frames: list[bytes]) -> AsyncIterator[bytes]:
    for each in frames:
        yield each


def _revision(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else None  # noqa: PLR2004 - digits
