"""The exit codes."""

from __future__ import annotations

from opencode_sessions.store.messages import TurnStatus

__all__ = ["BAD_USAGE", "CANCELLED", "DONE", "FAILED", "exit_code"]

DONE = 0
FAILED = 1
BAD_USAGE = 2
CANCELLED = 130


def exit_code(status: TurnStatus) -> int:
    """The exit code for the end of a turn."""
    return {TurnStatus.COMPLETED: DONE, TurnStatus.CANCELLED: CANCELLED}.get(status, FAILED)
