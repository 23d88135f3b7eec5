"""Server-sent events: their bytes, and the events that are independent of a turn."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["AGAIN", "BEAT", "CONTENT_TYPE", "RETRY", "STILL_HERE", "data", "dumps", "frame", "revised"]

CONTENT_TYPE = "text/event-stream; charset=utf-8"

RETRY = b"retry: 1000\n\n"
"""The time after which a browser reconnects, in milliseconds."""

BEAT = b": still here\nevent: beat\ndata: {}\n\n"
"""A heartbeat as an event, because browsers hide comments from scripts."""

STILL_HERE = b": still here\n\n"
"""A heartbeat as a comment, for protocols in which every event has a meaning."""

AGAIN = b"event: again\ndata: {}\n\n"
"""Tells the browser to reconnect at once. The stream ends here without a fault."""


def data(said: str) -> bytes:
    """An event without a name.

    Args:
        said: The data, on one line.
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
    # A model can write half a character, which UTF-8 cannot encode; this escapes it as JSON does.
    return f"event: {event}\n{named}data: {data}\n\n".encode(errors="backslashreplace")


def revised(number: int) -> bytes:
    """Only an id, which the browser sends when it reconnects."""
    return f"id: {number}\n\n".encode()


def dumps(data: Any) -> str:
    """JSON on one line."""
    return json.dumps(data, ensure_ascii=False)
