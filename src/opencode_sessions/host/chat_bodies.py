"""The JSON of a chat front end's request, and the values in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from opencode_sessions.host.steering import Refused

__all__ = ["MOST_BYTES", "json_object", "labels_of", "message_id_of", "text_of"]

MOST_BYTES = 1024 * 1024
"""Of the body of a request without its files: a front end may send all that was said."""

_MOST_VALUES = 200_000
"""How many brackets, braces and commas the JSON of a request with files may have."""

_LONGEST_ID = 255

_HALF = re.compile("[\ud800-\udfff]")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        Refused: The body is not a JSON object, or is large for another reason than its files.
    """
    # Only files may make a body large. Anything else takes 30 times as much memory when it is parsed.
    if len(body) > MOST_BYTES and sum(map(body.count, (b"{", b"[", b","))) > _MOST_VALUES:
        raise Refused(413, f"The body, without its files, may have {MOST_BYTES // 1024} KiB at most.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body must be JSON.") from error
    if _has_half_character(found):
        raise Refused(400, "The body must be JSON.")
    if not isinstance(found, dict):
        raise Refused(400, "The body must be a JSON object.")
    return found


def _has_half_character(found: Any) -> bool:
    """Whether a text has half a surrogate pair, which can neither be stored nor sent.

    `isascii` takes no time. Encoding the body instead would copy the files in it.
    """
    left = [found]
    while left:
        each = left.pop()
        if isinstance(each, str):
            if not each.isascii() and _HALF.search(each):
                return True
        elif isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
    return False


def text_of(value: Any, name: str) -> str:
    """A required text.

    Raises:
        Refused: It is missing.
    """
    if not isinstance(value, str) or not value:
        raise Refused(400, f"The body must have a text `{name}`.")
    return value


def message_id_of(message: Mapping[str, Any]) -> str | None:
    """The front end's id of a message; None if a column of 255 characters cannot keep it."""
    found = message.get("id")
    fits = isinstance(found, str) and 0 < len(found) <= _LONGEST_ID and "\0" not in found
    return found if fits else None


def labels_of(value: Any, otherwise: str) -> tuple[tuple[str, ...], ...]:
    """The chosen labels for each question.

    Args:
        value: The value in the request.
        otherwise: The error's text.

    Raises:
        Refused: The value has another form.
    """
    fits = isinstance(value, list) and all(
        isinstance(chosen, list) and all(isinstance(label, str) for label in chosen) for chosen in value
    )
    if not fits:
        raise Refused(400, otherwise)
    return tuple(tuple(chosen) for chosen in value)
