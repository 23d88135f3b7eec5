"""Make data from outside safe: JSON for storage, and text for a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from opencode_sessions.protocol.visible import visible_line

__all__ = ["LONGEST_LINE", "clean", "cut_line", "one_line", "plain", "said", "whole"]

LONGEST_LINE = 100

_DEEPEST = 24
"""How many levels are kept: far more than a tool's input has. With the row's own levels, MariaDB accepts 32."""

_ELLIPSIS = "…"
_BLANKS = re.compile(r"[ \t\r\n]+")

# A model's text must not control the terminal by escape sequences.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
_CONTROLS |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


def plain(value: Any, depth: int = _DEEPEST, deeper: Callable[[Any], str] = lambda _: _ELLIPSIS) -> Any:
    """A copy of a JSON value; NaN and infinity are None.

    Args:
        value: The value.
        depth: How many levels are kept.
        deeper: What stands for an object or a list below them.
    """
    match value:
        case Mapping():
            if depth == 0:
                return deeper(value)
            return {str(key): plain(item, depth - 1, deeper) for key, item in value.items()}
        case list() | tuple():
            if depth == 0:
                return deeper(value)
            return [plain(item, depth - 1, deeper) for item in value]
        case float() if not isfinite(value):
            return None
    return value


def whole(value: Any) -> Any:
    """The same, with all that it says: what is nested too deeply for a database stands there as JSON text."""
    return plain(value, deeper=_as_json)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return _ELLIPSIS


def said(value: Any) -> str:
    """The text; an empty one for any other value."""
    return value if isinstance(value, str) else ""


def clean(text: str) -> str:
    """The text without characters that control a terminal, except line ends and tabs."""
    return text.translate(_CONTROLS)


def one_line(text: str, limit: int = LONGEST_LINE) -> str:
    """Prose on one line, made visible: line ends and blanks become one space, cut after `limit` characters."""
    return cut_line(visible_line(_BLANKS.sub(" ", text).strip(" ")), limit)


def cut_line(line: str, limit: int = LONGEST_LINE) -> str:
    """The line, cut after `limit` characters."""
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
