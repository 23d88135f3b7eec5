"""`display_message`: all that a message's row has to show."""

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
    """What is to be shown of a message.

    Attributes:
        parts: The answer, in order.
        asks: What the agent waits for a person to answer.
        error: Why it failed or was stopped.
        status: The row's.
    """

    parts: tuple[Shown, ...]
    asks: tuple[ShownAsk, ...]
    error: ShownError | None
    status: str


def display_message(message: Any, *, root: str | None = None, files: str = "") -> ShownMessage:
    """Show a message: a row of a model with the turn columns, a `MessageState`, or a `TurnResult`.

    Args:
        message: What has `parts`, and may have `asks`, `error`, `status` and `content`.
        root: As in `display`.
        files: Likewise.
    """
    told, status = objects(getattr(message, "parts", None)), said(getattr(message, "status", None))
    root = worktree_of(told) if root is None else root
    asks = objects(entries(getattr(message, "asks", None)))
    about = _parts_for_asks(told if asks else [])
    shown = display(told, status=status, asks=asks, root=root, files=files)
    prompt_id = said(getattr(message, "opencode_prompt_id", None) or getattr(message, "prompt_id", None))
    content = prose(said(getattr(message, "content", None)))
    if content.text.strip() and not any(isinstance(part, Text) for part in shown):
        # Where a turn failed without a word, its content is the host's own: the `fallback`.
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
    """Finds the parts that tell of an ask: the first one of its session, and the first one of its call.

    Each ask is to cost the same, however many parts there are.
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
