"""The space for an ask on its card: a limited number of lines and characters, and the size of the missing part."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from opencode_sessions.display.coerce import MOST_CHARACTERS, MOST_LINES, laid_out
from opencode_sessions.protocol.visible import visible_line
from opencode_sessions.texts import counted, number, text

__all__ = ["Room", "amount_of"]

_KILO = 1_000


class Room:
    """The space for one ask.

    Args:
        endless: Whether to show everything.

    Attributes:
        left_out: How many lines are not shown.
        size: How many characters they have.
    """

    def __init__(self, *, endless: bool) -> None:
        self._lines, self._characters = (
            (sys.maxsize, sys.maxsize) if endless else (MOST_LINES, MOST_CHARACTERS)
        )
        self.left_out = self.size = 0

    def text(self, text: str) -> str:
        """The shown part of a text of several lines."""
        cut = laid_out(text, self._lines, self._characters)
        self._take(cut.text.count("\n") + 1, len(cut.text))
        self.miss(cut.left_out, cut.size)
        return cut.text

    def line(self, text: str) -> str:
        """The shown part of a text on one line."""
        line = visible_line(text)
        room = self._characters if self._lines else 0
        self._take(1, len(line))
        if len(line) > room:
            self.miss(1, len(line) - room)
        return line[:room]

    def lines(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The shown part of several texts; those without space are missing."""
        shown = (self.line(text) for text in texts)
        return tuple(line for line in shown if line)

    def _take(self, lines: int, characters: int) -> None:
        self._lines, self._characters = max(self._lines - lines, 0), max(self._characters - characters, 0)

    def miss(self, lines: int, size: int) -> None:
        """Count a part that is not shown."""
        self.left_out += lines
        self.size += size


def amount_of(lines: int, size: int) -> str:
    """`3,200 more lines, 81 kB`; empty if nothing is missing."""
    if not lines:
        return ""
    if size >= _KILO:
        much = text("{size} kB", size=number(size / _KILO))
    else:
        much = counted("{count} character", "{count} characters", size)
    return text("{lines}, {size}", lines=counted("{count} more line", "{count} more lines", lines), size=much)
