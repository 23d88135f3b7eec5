"""The sessions and messages that a server stores, as values that no dialect shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.protocol.events import StoredMessage

__all__ = ["Health", "Message", "SessionInfo"]


@dataclass(frozen=True, slots=True)
class Health:
    """The server's health report."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session as the server shows it.

    Attributes:
        rules: Its permission rules, in the server's own form.
        metadata: The metadata from its creator; for sessions of this library `namespace` and `record`.
        created: The time of its creation, in milliseconds since 1970; likewise `updated`.
        cost: The cost so far, in the currency of the provider's price list (US dollars).
    """

    id: str
    title: str = ""
    directory: str | None = None
    parent_id: str | None = None
    rules: Sequence[Mapping[str, Any]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created: int = 0
    updated: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message: its envelope, and its parts in the server's own JSON."""

    info: StoredMessage
    parts: Sequence[Mapping[str, Any]] = ()
