"""Server-sent events: their bytes, and those that say nothing of a turn."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["AGAIN", "BEAT", "CONTENT_TYPE", "RETRY", "STILL_HERE", "data", "dumps", "frame", "revised"]

CONTENT_TYPE = "text/event-stream; charset=utf-8"

RETRY = b"retry: 1000\n\n"
"""After so many milliseconds a browser connects again."""

BEAT = b": still here\nevent: beat\ndata: {}\n\n"
"""An event, as browsers tell a script nothing of comments."""

STILL_HERE = b": still here\n\n"
"""A comment, for protocols whose every event has a meaning."""

AGAIN = b"event: again\ndata: {}\n\n"
"""Connect again at once: the stream ends here, and nothing is wrong."""


def data(said: str) -> bytes:
    """An event without a name.

    Args:
        said: Its data, on one line.
    """
    return f"data: {said}\n\n".encode(errors="backslashreplace")


def frame(event: str, data: str, number: int | None = None) -> bytes:
    """One event.

    Args:
        event: Its name.
        data: Its JSON, on one line.
        number: Its id, if it has one.
    """
    named = f"id: {number}\n" if number is not None else ""
    # Half a character, as a model can write one, has no UTF-8; this escapes it as JSON does.
    return f"event: {event}\n{named}data: {data}\n\n".encode(errors="backslashreplace")


def revised(number: int) -> bytes:
    """No event, but an id, which a browser says when it connects again."""
    return f"id: {number}\n\n".encode()


def dumps(data: Any) -> str:
    """JSON on one line."""
    return json.dumps(data, ensure_ascii=False)
