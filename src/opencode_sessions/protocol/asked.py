"""The subject of an ask in a message's row, and the digest by which an answer names it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from opencode_sessions.protocol.plain import plain, said

__all__ = ["call_of", "digest_of", "waiting_call"]

_ABOUT = ("id", "kind", "session_id", "permission", "patterns", "metadata", "always", "questions")
_DEEPEST = 200


def call_of(ask: Mapping[str, Any], parts: Iterable[Any]) -> Mapping[str, Any] | None:
    """The part of the tool call that asks, with the tool's input; None if it is not among the parts.

    The calls of a sub-agent are not among them, and may have the same id as one that is.
    """
    found = [part for part in parts if isinstance(part, Mapping)]
    call_id, session_id = said(ask.get("call_id")), said(ask.get("session_id"))
    if not call_id or any(_session_of(part) == session_id for part in found):
        return None
    return next((part for part in found if said(part.get("call_id")) == call_id), None)


def waiting_call(ask: Mapping[str, Any], parts: Iterable[Any]) -> Mapping[str, Any] | None:
    """The part of the tool call that waits for an answer: the one that asks, or the one that runs the sub-agent."""
    found = [part for part in parts if isinstance(part, Mapping)]
    session_id = said(ask.get("session_id"))
    agent = next((part for part in found if session_id and _session_of(part) == session_id), None)
    return agent or call_of(ask, found)


def digest_of(ask: Mapping[str, Any], parts: Iterable[Any]) -> str:
    """The digest of everything that a person sees of an ask. If two asks differ in it, their digests differ.

    Args:
        ask: The ask, from a message's row.
        parts: The parts in the same row.
    """
    call = call_of(ask, parts) or {}
    about = {name: ask.get(name) for name in _ABOUT} | {name: call.get(name) for name in ("tool", "input")}
    told = json.dumps(plain(about, _DEEPEST), sort_keys=True, default=str)
    return sha256(told.encode()).hexdigest()


def _session_of(part: Mapping[str, Any]) -> str | None:
    metadata = part.get("metadata")
    return metadata.get("sessionId") if isinstance(metadata, Mapping) else None
