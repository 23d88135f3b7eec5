"""What comes from outside, made safe: JSON to keep, and text to show in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from opencode_sessions.protocol.visible import visible_line

__all__ = ["LONGEST_LINE", "clean", "cut_line", "one_line", "plain", "said"]

LONGEST_LINE = 100

_DEEPEST = 24
"""Levels that are kept: far more than a tool's input has, and together with the row's own what MariaDB takes (32)."""

_ELLIPSIS = "…"
_BLANKS = re.compile(r"[ \t\r\n]+")

# A model's text is shown, not obeyed: a terminal acts on escape sequences.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
_CONTROLS |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


def plain(value: Any, depth: int = _DEEPEST) -> Any:
    """A copy of a JSON value: what lies deeper than `depth` levels is an ellipsis, NaN and infinity are None."""
    match value:
        case Mapping():
            if depth == 0:
                return _ELLIPSIS
            return {str(key): plain(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            if depth == 0:
                return _ELLIPSIS
            return [plain(item, depth - 1) for item in value]
        case float() if not isfinite(value):
            return None
    return value


def said(value: Any) -> str:
    """The text, or an empty one where something else stands."""
    return value if isinstance(value, str) else ""


def clean(text: str) -> str:
    """The text without anything that a terminal would act on, but for line ends and tabs."""
    return text.translate(_CONTROLS)


def one_line(text: str, limit: int = LONGEST_LINE) -> str:
    """Prose on one line, visibly: lines and blanks run together, and what is longer than `limit` characters is cut."""
    return cut_line(visible_line(_BLANKS.sub(" ", text).strip(" ")), limit)


def cut_line(line: str, limit: int = LONGEST_LINE) -> str:
    """The line, cut short where it is longer than `limit` characters."""
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
