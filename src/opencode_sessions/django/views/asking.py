"""The page of a whole ask, which is too long for a card, with the form that answers it."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.db import models
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_safe

from opencode_sessions.display import ShownAsk, display_ask
from opencode_sessions.display.forms import ASK
from opencode_sessions.django.addresses import address
from opencode_sessions.django.html import render_ask
from opencode_sessions.django.views.access import outside_transactions, root_of, seen
from opencode_sessions.errors import AskAnsweredError

__all__ = ["asked", "card", "whole"]


def asked(message: models.Model, ask_id: str, *, whole: bool = True) -> ShownAsk:
    """The view model of an ask in the row.

    Raises:
        AskAnsweredError: The ask does not wait.
    """
    for ask in message.asks:  # type: ignore[attr-defined]  # MessageModel
        if ask.get("id") == ask_id:
            parts = message.parts  # type: ignore[attr-defined]  # likewise
            return display_ask(ask, parts, root=root_of(message), whole=whole)
    raise AskAnsweredError(f"{message} waits for no answer to {ask_id}", ask_id=ask_id)


def card(message: models.Model, ask_id: str) -> str:
    """The present form of an ask; empty if it does not wait."""
    message.refresh_from_db(fields=["asks", "parts"])
    try:
        return render_ask(asked(message, ask_id, whole=False), action=address("answer", message))
    except AskAnsweredError:
        return ""


@require_safe
@csrf_protect
@never_cache
@outside_transactions
def whole(request: HttpRequest, label: str, pk: str) -> HttpResponseBase:
    """The whole ask with the id in `?ask=`, and its form; a 404 page if it does not wait."""
    message = seen(request, label, pk)
    back = _came_from(request)
    try:
        ask = asked(message, request.GET.get(ASK, ""))
    except AskAnsweredError:
        return _page(request, {"back": back}, status=404)
    form = render_ask(ask, action=address("answer", message), csrf_token=get_token(request), back=back)
    return _page(request, {"ask": ask, "form": form, "back": back})


def _page(request: HttpRequest, context: dict[str, object], status: int = 200) -> HttpResponse:
    return render(request, "opencode/ask.html", context, status=status)


def _came_from(request: HttpRequest) -> str:
    """The page of this site from which the user came."""
    came = request.headers.get("Referer", "")
    ours = url_has_allowed_host_and_scheme(
        came, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return came if ours and urlsplit(came).path != request.path else ""
