"""`display_message`: all that a message's row has to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opencode_sessions.display.asks import ShownAsk, display_ask
from opencode_sessions.display.errors import ShownError, display_error
from opencode_sessions.display.parts import display
from opencode_sessions.display.reading import entries, objects, prose
from opencode_sessions.display.shown import Shown, Text
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


def display_message(message: Any, *, root: str | None = None) -> ShownMessage:
    """Show a message: a row of a model with the turn columns, a `MessageState`, or a `TurnResult`.

    Args:
        message: What has `parts`, and may have `asks`, `error`, `status` and `content`.
        root: As in `display`.
    """
    told, status = entries(getattr(message, "parts", None)), said(getattr(message, "status", None))
    asks = objects(entries(getattr(message, "asks", None)))
    shown = display(told, status=status, asks=asks, root=root)
    prompt_id = said(getattr(message, "opencode_prompt_id", None) or getattr(message, "prompt_id", None))
    content = prose(said(getattr(message, "content", None)))
    if content.text.strip() and not any(isinstance(part, Text) for part in shown):
        # Where a turn failed without a word, its content is the host's own: the `fallback`.
        shown.append(
            Text(id=f"{prompt_id or 'message'}-content", markdown=content.text, left_out=content.left_out)
        )
    return ShownMessage(
        parts=tuple(shown),
        asks=tuple(display_ask(ask, told, root=root) for ask in asks),
        error=display_error(getattr(message, "error", None)),
        status=status,
    )
