"""The list of a user's conversations: the newest first, a page at a time, and always with the one that is looked at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware

from chat.models import Conversation

__all__ = ["listed"]

MOST_LISTED = 100


def listed(request: HttpRequest, current: int) -> dict[str, Any]:
    """What the list's template wants.

    Args:
        request: Its `before` is the mark of the conversation that the list goes on after; without one it begins.
        current: The key of the conversation that is looked at; 0 for none.

    Returns:
        `conversations`; `before` as it was given, and `older`, the mark of the last one if there are more.
    """
    mine = Conversation.objects.of(request.user).with_state()
    before = request.GET.get("before", "")
    found = list(mine.filter(_after(before))[: MOST_LISTED + 1])
    shown = found[:MOST_LISTED]
    older = _mark(shown[-1]) if len(found) > MOST_LISTED else ""
    if all(each.pk != current for each in shown):
        shown = sorted([*shown, *mine.filter(pk=current)], key=_place, reverse=True)
    return {"conversations": shown, "before": before, "older": older, "current": current}


def _place(conversation: Conversation) -> tuple[datetime, int]:
    return conversation.touched_at, conversation.pk


def _mark(conversation: Conversation) -> str:
    return f"{conversation.touched_at.isoformat()}_{conversation.pk}"


def _after(mark: str) -> Q:
    """All that comes after it in the list; all there is, if it is no mark."""
    said, _, pk = mark.rpartition("_")
    try:
        touched_at = parse_datetime(said)
    except ValueError:
        touched_at = None
    if touched_at is None or not is_aware(touched_at) or not pk.isdecimal():
        return Q()
    return Q(touched_at__lt=touched_at) | Q(touched_at=touched_at, pk__lt=int(pk))
