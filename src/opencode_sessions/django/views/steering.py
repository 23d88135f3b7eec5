"""The views that control a turn: answer its asks, cancel it, retry it."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from opencode_sessions.display import Given, ShownAsk, read_answer
from opencode_sessions.display.forms import ASK
from opencode_sessions.django import host
from opencode_sessions.django.addresses import address, named
from opencode_sessions.django.conf import settings
from opencode_sessions.django.sessions import turn_for
from opencode_sessions.django.views.access import outside_transactions
from opencode_sessions.django.views.asking import asked, card, whole
from opencode_sessions.django.views.replies import Refused, steers
from opencode_sessions.django.views.retrying import retry_of
from opencode_sessions.errors import AskChangedError, ConfigurationError
from opencode_sessions.host.steering import check_answer, not_again, refusal_of, too_late
from opencode_sessions.turns.asks import Answer

__all__ = ["answer", "cancel", "give", "retried", "retry", "stop"]


@outside_transactions
def answer(request: HttpRequest, label: str, pk: str) -> HttpResponseBase:
    """Show a whole ask (GET), or answer it (POST)."""
    view = whole if request.method in ("GET", "HEAD") else _answer
    return view(request, label, pk)


@steers
def _answer(request: HttpRequest, message: models.Model) -> None:
    """Answer an ask. See `opencode_sessions.display.forms` for the form's fields."""
    wanted = request.POST.get(ASK, "")
    if not wanted:
        raise Refused(400, f"The form must say in `{ASK}` what it answers.")
    shown = asked(message, wanted)
    try:
        _give(message, read_answer(dict(request.POST.lists()), shown), shown)
    except AskChangedError as error:
        refused = refusal_of(error)
        raise Refused(refused.status, str(refused), html=card(message, wanted)) from error
    except ConfigurationError as error:
        raise Refused(400, str(error)) from error


def give(message: models.Model, given: Given) -> None:
    """Answer an ask.

    Raises:
        Refused: This host does not accept such an answer.
        OpencodeError: As `Turn.answer`.
    """
    message.refresh_from_db(fields=["asks", "parts"])
    _give(message, given, asked(message, given.ask))


def _give(message: models.Model, given: Given, shown: ShownAsk) -> None:
    check_answer(given.reply, given.labels, shown, allow_always=settings().allow_always)
    answer = Answer(given.reply, given.labels, given.message, shown=given.shown)
    turn_for(message).answer(given.ask, answer)


@steers
def cancel(request: HttpRequest, message: models.Model) -> None:
    """Cancel the turn, in whatever process it runs. A turn that was cancelled before stays so."""
    stop(request, message)


def stop(request: HttpRequest, message: models.Model) -> None:
    """Cancel the turn.

    Raises:
        Refused: The turn has ended in another way.
    """
    if host.cancel(message, by=_who(request)):
        return
    message.refresh_from_db(fields=["status"])
    status = message.status  # type: ignore[attr-defined]  # MessageModel
    if status != "cancelled":
        raise too_late(status)


@steers
def retry(_request: HttpRequest, message: models.Model) -> dict[str, Any]:
    """Retry a turn that failed or was cancelled, in a new message. Repeated requests return the same new message."""
    again = retried(message)
    label, pk = named(again)
    return {"label": label, "pk": str(pk), "events": address("events", again)}


def retried(message: models.Model) -> models.Model:
    """The message that retries this one.

    Raises:
        Refused: This one did not fail, and was not cancelled.
    """
    again = retry_of(message)
    if again is None:
        message.refresh_from_db(fields=["status"])
        status = message.status  # type: ignore[attr-defined]  # MessageModel
        raise not_again(status)
    return again


def _who(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    return user.get_username() if user is not None and user.is_authenticated else "visitor"
