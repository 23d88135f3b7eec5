"""`LiveObserver`: tells a hub of a turn that runs in its process."""

from __future__ import annotations

from opencode_sessions.live.hub import LiveHub
from opencode_sessions.store.turn_table import RowKey
from opencode_sessions.turns.events import (
    AskAnswered,
    AskRaised,
    ReplyChanged,
    TurnEvent,
    TurnFinished,
    TurnRecovered,
    TurnStarted,
)

__all__ = ["LiveObserver"]


class LiveObserver:
    """A listener of a message's turn. With it, the answer is shown as it grows, and not only as the row is written.

    A listener is not told of a turn that is only cancelled or given up. Call `LiveHub.finished` then; otherwise
    browsers see it when the row is read the next time.

    Args:
        hub: The one of the process.
        key: What names the message's row.
    """

    def __init__(self, hub: LiveHub, key: RowKey) -> None:
        self._hub = hub
        self._key = key

    def __call__(self, event: TurnEvent) -> None:
        """See `Listener`."""
        match event:
            case ReplyChanged(change, reply):
                self._hub.changed(self._key, reply, change)
            case TurnStarted() | TurnRecovered():
                self._hub.row_changed(self._key)
            case AskRaised() | AskAnswered():
                self._hub.row_changed(self._key, eagerly=True)
            case TurnFinished():
                self._hub.finished(self._key)
            case _:
                pass
