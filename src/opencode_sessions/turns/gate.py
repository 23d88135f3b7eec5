"""Limits on turns at a time: a gate that a turn passes before its prompt is sent."""

from __future__ import annotations

from typing import Protocol

from opencode_sessions.sessions.servers import Placement

__all__ = ["Gate"]


class Gate(Protocol):
    """Says whether a turn may begin. It counts rows, so that the limit holds in all processes, whichever crash."""

    async def admit(self, record: Placement, key: str, *, begun: bool) -> None:
        """Let the turn pass.

        It is asked twice: before the turn is taken, and when its row says that it runs. The second time counts, as the
        row itself does then; the first saves work.

        Args:
            record: The store of its record.
            key: What names the message.
            begun: Whether the row says that the turn runs.

        Raises:
            TurnLimitError: It is not to begin now. Its row is pending then.
        """
