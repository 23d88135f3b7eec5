"""Pictures and files in a reply: results of tool calls, or parts of their own.

The server sends each as a data URL with the whole file (1.18.33). A reply keeps a small one. For a large one it keeps
the size, and the ids with which `Api.attachment` finds the stored file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from opencode_sessions.protocol.plain import said

__all__ = ["LARGEST_KEPT", "PICTURES", "attachments_of", "content_of", "kept", "kept_all", "stored_file"]

Json = Mapping[str, Any]

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""The types of files that are shown as pictures: none of them can hold a script."""

LARGEST_KEPT = 65_536
"""The longest URL that a reply keeps, in characters."""

_MOST_KEPT = 20
_LONGEST_NAME = 1_000
_TOLD = ("id", "sessionID", "messageID", "mime", "filename")
_BASE64 = ";base64,"


def kept(found: Json) -> dict[str, Any]:
    """The form of a file in a reply, as the server has it; `size` is in bytes."""
    told: dict[str, Any] = {name: said(found.get(name))[:_LONGEST_NAME] for name in _TOLD if found.get(name)}
    url = said(found.get("url"))
    if len(url) <= LARGEST_KEPT:
        told["url"] = url
    if url.startswith("data:"):
        body = len(url) - url.find(_BASE64) - len(_BASE64)
        told["size"] = body * 3 // 4 - url[-2:].count("=")
    return told


def kept_all(found: Any) -> list[dict[str, Any]] | None:
    """The files that a tool call returned, in the form of a reply; None without any."""
    files = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    return [kept(each) for each in files[:_MOST_KEPT]] or None


def attachments_of(part: Json) -> list[Json]:
    """The files in a part of a message's row, as `kept` and `kept_all` wrote them."""
    files = [part.get("data")] if part.get("type") == "file" else part.get("attachments")
    return [each for each in files if isinstance(each, Mapping)] if isinstance(files, list) else []


def content_of(url: str) -> bytes | None:
    """The content of a data URL; None if the server did not make it."""
    head, is_data, body = url.partition(_BASE64)
    if not is_data or not head.startswith("data:"):
        return None
    try:
        return base64.b64decode(body)
    except binascii.Error:
        return None


def stored_file(parts: Iterable[Json], attachment_id: str) -> Json | None:
    """A file of a stored message, in the server's form; None if none of its parts has that id."""
    for part in parts:
        state = part.get("state")
        returned = state.get("attachments") if isinstance(state, Mapping) else None
        for file in (part, *(returned if isinstance(returned, list) else ())):
            if isinstance(file, Mapping) and file.get("id") == attachment_id and file.get("type") == "file":
                return file
    return None
