"""What a `Session` tells its `observer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Action", "SessionEnsured"]

Action = Literal["ensure", "recreate", "fork"]


@dataclass(frozen=True, slots=True)
class SessionEnsured:
    """The record's session is there, and its rules are in force. That took so many `seconds`.

    Attributes:
        action: `ensure`; or `recreate`, where one is made in place of another; or `fork`.
        record: What names the record.
        created: It was made now.
    """

    action: Action
    record: str
    session_id: str
    created: bool
    seconds: float
