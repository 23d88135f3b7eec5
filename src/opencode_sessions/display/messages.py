"""`display_message`: the view model of a whole message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opencode_sessions.display.asks import ShownAsk, display_ask
from opencode_sessions.display.coerce import Json, entries, objects, prose, section
from opencode_sessions.display.errors import ShownError, display_error
from opencode_sessions.display.model import Shown, Text
from opencode_sessions.display.parts import display
from opencode_sessions.display.tools.paths import worktree_of
from opencode_sessions.protocol.plain import said

__all__ = ["ShownMessage", "display_message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMessage:
    """The view model of a message.

    Attributes:
        parts: The answer's parts, in order.
        asks: The asks that wait for a person.
        error: The reason why the turn failed or was stopped.
        status: The row's status.
    """

    parts: tuple[Shown, ...]
    asks: tuple[ShownAsk, ...]
    error: ShownError | None
    status: str


def display_message(message: Any, *, root: str | None = None, files: str = "") -> ShownMessage:
    """Show a message: a row of a model with the turn columns, a `MessageState`, or a `TurnResult`.

    Args:
        message: An object with `parts`, and perhaps with `asks`, `error`, `status` and `content`.
        root: See `display`.
        files: See `display`.
    """
    told, status = objects(getattr(message, "parts", None)), said(getattr(message, "status", None))
    root = worktree_of(told) if root is None else root
    asks = objects(entries(getattr(message, "asks", None)))
    about = _parts_for_asks(told if asks else [])
    shown = display(told, status=status, asks=asks, root=root, files=files)
    prompt_id = said(getattr(message, "opencode_prompt_id", None) or getattr(message, "prompt_id", None))
    content = prose(said(getattr(message, "content", None)))
    if content.text.strip() and not any(isinstance(part, Text) for part in shown):
        # If a turn failed without any text, its content is the host's `fallback`.
        shown.append(
            Text(id=f"{prompt_id or 'message'}-content", markdown=content.text, left_out=content.left_out)
        )
    return ShownMessage(
        parts=tuple(shown),
        asks=tuple(display_ask(ask, about(ask), root=root) for ask in asks),
        error=display_error(getattr(message, "error", None)),
        status=status,
    )


def _parts_for_asks(parts: list[Json]) -> Callable[[Json], list[Json]]:
    """Finds the parts that belong to an ask: the first one of its session, and the first one of its call.

    It uses an index, so that the cost of an ask does not depend on the number of parts.
    """
    by_call: dict[str, Json] = {}
    by_session: dict[str, Json] = {}
    for part in parts:
        by_call.setdefault(said(part.get("call_id")), part)
        by_session.setdefault(said(section(part, "metadata").get("sessionId")), part)

    def find(ask: Json) -> list[Json]:
        found = by_session.get(said(ask.get("session_id"))), by_call.get(said(ask.get("call_id")))
        return [part for part in found if part is not None]

    return find
