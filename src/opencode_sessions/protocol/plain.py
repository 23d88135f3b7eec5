"""What comes from outside, made safe: JSON to keep, and text to show in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

__all__ = ["LONGEST_LINE", "clean", "one_line", "plain", "said"]

LONGEST_LINE = 100

_DEEPEST = 24
"""Levels that are kept: far more than a tool's input has, and together with the row's own what MariaDB takes (32)."""

_ELLIPSIS = "…"

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
    """The text on one line, cut short where it is longer than `limit` characters."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
