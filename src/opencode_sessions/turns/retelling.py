"""Retelling: what was said before goes with the first prompt of a new session, which knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from opencode_sessions.errors import ConfigurationError

__all__ = ["Retell", "retold"]

Retell = Callable[[Any], str]
"""From a record to what was said before, such as `retold` writes it; empty if there was nothing."""

_LONGEST = 20_000

_HEAD = (
    "The user and you have talked before, in a session that is gone. These are the last turns, oldest first, one JSON "
    "object in a line. Your tool calls and their results are not among them."
)


def retold(turns: Iterable[tuple[str, str]], *, longest: int = _LONGEST) -> str:
    """The text that tells an agent what was said before; empty if nothing was.

    Args:
        turns: Prompts with their answers, oldest first.
        longest: How many characters of them to tell, at most. The newest turns are kept. A text that has more than a
            half of this is cut at its end.

    Raises:
        ConfigurationError: `longest` is too small, or these are not pairs of texts.
    """
    if longest < 100:  # noqa: PLR2004 - below that, nothing useful is left
        raise ConfigurationError(f"longest must be at least 100 characters, not {longest!r}")
    told: list[str] = []
    left = longest
    for turn in reversed(list(turns)):
        line = json.dumps(_told(turn, longest // 2), ensure_ascii=False)
        left -= len(line)
        if told and left < 0:
            break
        told.append(line)
    return "\n".join([_HEAD, *reversed(told)]) if told else ""


def _told(turn: tuple[str, str], longest: int) -> dict[str, str]:
    try:
        prompt, answer = turn
        texts = {"user": prompt, "you": answer}
        return {name: text if len(text) <= longest else f"{text[:longest]}…" for name, text in texts.items()}
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"retold takes pairs of texts, prompts with their answers, not {turn!r}"
        ) from error
