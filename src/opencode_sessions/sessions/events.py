"""The event that a `Session` sends to its `observer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Action", "SessionEnsured"]

Action = Literal["ensure", "recreate", "fork"]


@dataclass(frozen=True, slots=True)
class SessionEnsured:
    """The record's session exists, and its rules are in force.

    Attributes:
        action: `ensure`, `recreate` (the session replaces another one) or `fork`.
        record: The record's key.
        created: Whether this call created the session.
        seconds: How long the call took.
    """

    action: Action
    record: str
    session_id: str
    created: bool
    seconds: float
