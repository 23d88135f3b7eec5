"""The common part of protocols that can only add to sent messages, and that end a stream when the turn waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opencode_sessions.display import ShownError, SubAgent, Text, Thought, Todos, Tool
from opencode_sessions.frontends.display_json import plain
from opencode_sessions.live.news import FORGOTTEN, News, PartNews
from opencode_sessions.live.view import TurnView, standing
from opencode_sessions.texts import text

__all__ = ["appends", "facts_of", "totals", "waits", "why"]


def appends(news: News, retold: Callable[[PartNews], bool], untold: str | None = None) -> bool:
    """Can the news be sent by additions only?

    Args:
        news: The news.
        retold: Whether a part can be sent a second time, in place of the first.
        untold: The `standing` of parts that are not sent yet.
    """
    for each in news.parts:
        shown = each.part.shown
        if each.was in (None, untold):
            continue
        grows = each.known is not None and each.was == "growing"
        if each.was == FORGOTTEN or not retold(each) or (isinstance(shown, Text | Thought) and not grows):
            return False
    told = [key for key, part in news.view.parts.items() if standing(part.shown) != untold]
    new = [
        each.part.shown.id for each in news.parts if each.was in (None, untold) and each.part.shown.id in told
    ]
    kept = [key for key in told if not isinstance(news.view.parts[key].shown, Todos) or key in new]
    return not new or kept[-len(new) :] == new


def facts_of(shown: Text | Thought) -> dict[str, Any]:
    """Values that are sent in addition to a text, if there are any."""
    told = {name: getattr(shown, name, None) for name in ("duration", "left_out")}
    return told if any(told.values()) else {}


def totals(view: TurnView) -> dict[str, Any]:
    """The state of the whole turn."""
    return {"status": view.status, "revision": view.revision, "bill": plain(view.bill)}


def why(error: ShownError | None) -> str:
    """The reason why a turn failed, or was deleted, as a text for people."""
    said = (error.title, error.advice, error.text) if error is not None else (text("There is no such turn."),)
    return "\n".join(filter(None, said))


def waits(view: TurnView) -> bool:
    """Does the whole unfinished part of the turn wait for a person?"""
    asked = {ask.shown.part for ask in view.asks.values()}
    calls = [part.shown for part in view.parts.values() if isinstance(part.shown, Tool)]
    deep = not asked <= {call.id for call in calls}  # a sub-agent of a sub-agent may be asking
    return bool(asked) and all(
        call.state in ("done", "failed", "refused")
        or call.asks
        or call.id in asked
        or (deep and isinstance(call.detail, SubAgent))
        for call in calls
    )
