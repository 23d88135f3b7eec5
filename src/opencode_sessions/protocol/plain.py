"""JSON from outside, made safe to keep: of bounded depth, and without numbers that JSON does not have."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

__all__ = ["plain", "said"]

_DEEPEST = 64
"""Levels that are kept: far more than a tool's input has, and far less than Python can recurse."""

_ELLIPSIS = "…"


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
