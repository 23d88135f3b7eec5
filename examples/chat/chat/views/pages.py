"""What is looked at: a conversation, the list of them, one turn."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from chat.listing import listed
from chat.models import Conversation, Message
from chat.suggestions import SUGGESTIONS

__all__ = ["conversation", "home", "listing", "render_turns", "turn"]


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """An empty conversation, with suggestions."""
    return render(request, "chat/home.html", {**_frame(request, 0), "suggestions": SUGGESTIONS})


@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """The list of conversations alone, for a page that brings its own up to date; `at` is the one that it shows."""
    at = request.GET.get("at", "")
    return render(request, "chat/_list.html", listed(request, int(at) if at.isdecimal() else 0))


@require_GET
def conversation(request: HttpRequest, pk: int) -> HttpResponse:
    """A conversation; with `after`, its turns after that one, alone."""
    shown = get_object_or_404(Conversation.objects.of(request.user), pk=pk)
    after = request.GET.get("after", "")
    if after.isdecimal():
        return render_turns(request, shown.messages.filter(pk__gt=int(after)))
    context = {**_frame(request, pk), "conversation": shown, "bill": shown.bill()}
    return render(
        request, "chat/conversation.html", {**context, "turns": _with_retries(shown.messages.all())}
    )


@require_GET
def turn(request: HttpRequest, pk: int) -> HttpResponse:
    """One turn alone."""
    return render_turns(request, Message.objects.filter(pk=get_object_or_404(_mine(request), pk=pk).pk))


def render_turns(request: HttpRequest, messages: QuerySet[Message]) -> HttpResponse:
    """These turns, as a part of a page, with what the conversation has cost so far."""
    turns = list(_with_retries(messages))
    bill = turns[0].conversation.bill() if turns else None
    return render(request, "chat/_turns.html", {"turns": turns, "bill": bill})


def _mine(request: HttpRequest) -> QuerySet[Message]:
    return Message.objects.filter(conversation__owner=request.user)


def _with_retries(messages: QuerySet[Message]) -> QuerySet[Message]:
    return messages.select_related("conversation").prefetch_related(
        Prefetch("retries", queryset=Message.objects.only("pk", "retry_of"))
    )


def _frame(request: HttpRequest, current: int) -> dict[str, Any]:
    """What is around each page."""
    return {**listed(request, current), "scripted": settings.CHAT_SCRIPTED}
