"""Reading JSON of unknown shape: a wrong type raises an error that repeats no value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["number", "objects", "optional", "text"]

_UNCOUNTABLE = 2**53


def text(value: Any) -> str:
    """A string; anything else is a TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a string belongs")
    return value


def optional(value: Any) -> str | None:
    """A string or nothing; anything else is a TypeError."""
    return None if value is None else text(value)


def objects(values: Iterable[Any]) -> tuple[Mapping[str, Any], ...]:
    """JSON objects; anything else among them is a TypeError."""
    found = tuple(values)
    if not all(isinstance(value, Mapping) for value in found):
        raise TypeError("something else where a JSON object belongs")
    return found


def number(value: Any) -> float:
    """A finite number; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _UNCOUNTABLE:
        return 0.0
    return float(value)
