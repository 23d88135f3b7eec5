"""The view of a picture or a file that a tool returned."""

from __future__ import annotations

from itertools import chain

from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from opencode_sessions.display.files import PICTURES, shown_file
from opencode_sessions.django.clients import client
from opencode_sessions.django.registry import record_of
from opencode_sessions.django.rows import give_back_connections
from opencode_sessions.django.views.access import outside_transactions, seen
from opencode_sessions.errors import NotFoundError, WireError
from opencode_sessions.protocol.attachments import Json, attachments_of, content_of, stored_file
from opencode_sessions.protocol.plain import said

__all__ = ["file"]

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=3600",
}


@require_safe
@outside_transactions
def file(request: HttpRequest, label: str, pk: str, message_id: str, attachment_id: str) -> HttpResponseBase:
    """A picture as such, and anything else as a download. What the row does not hold, the server is asked for."""
    message = seen(request, label, pk)
    kept = chain.from_iterable(map(attachments_of, message.parts))  # type: ignore[attr-defined]  # MessageModel
    found: Json = next((each for each in kept if each.get("id") == attachment_id), {})
    try:
        if "url" not in found:  # it is large, or so new that the row does not tell of it yet
            found = _stored(message, said(found.get("sessionID")), message_id, attachment_id)
    except NotFoundError as error:
        raise Http404("The answer has no such file, or its session does not have it any more.") from error
    except WireError:
        return HttpResponse("The server that has this file cannot be asked now.", status=503)
    content = content_of(said(found.get("url")))
    if content is None:
        raise Http404("The answer has no such file.")
    shown = shown_file("", found, files="")
    is_picture = shown.mime in PICTURES
    return HttpResponse(
        content,
        content_type=shown.mime if is_picture else "application/octet-stream",
        headers={
            **_HEADERS,
            "Content-Disposition": content_disposition_header(not is_picture, shown.name) or "inline",
        },
    )


def _stored(message: models.Model, session_id: str, message_id: str, attachment_id: str) -> Json:
    """A file that the server has, if it belongs to this turn."""
    session_id = session_id or said(getattr(record_of(message), "opencode_session_id", None))
    if not session_id:
        return {}
    prompt_id = message.opencode_prompt_id  # type: ignore[attr-defined]  # MessageModel
    give_back_connections()
    stored = client().message(session_id, message_id)
    found = stored_file(stored.parts, attachment_id) if stored.info.parent_id == prompt_id else None
    return found or {}
