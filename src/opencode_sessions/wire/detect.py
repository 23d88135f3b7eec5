"""Which line of OpenCode a server is of, by what it answers when it is asked how it is."""

from __future__ import annotations

from opencode_sessions.wire.dialect import Dialect
from opencode_sessions.wire.v1 import calls as v1

__all__ = ["LINES"]

LINES: tuple[Dialect, ...] = (v1,)
"""The dialects, in the order in which a server is asked whether it speaks them."""
