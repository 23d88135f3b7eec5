"""Replace characters that a model can produce and a database refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["storable"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """The same JSON value, with U+FFFD for NUL and for half a surrogate pair."""
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case Mapping():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value
