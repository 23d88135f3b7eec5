"""`LiveObserver`: sends the events of a turn to the hub of its process."""

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
    """A listener of a message's turn. With it, watchers see each change, and not only the written rows.

    A turn that is only cancelled or failed sends no event. Call `LiveHub.finished` then; otherwise browsers see it at
    the next read of the row.

    Args:
        hub: The hub of the process.
        key: The key of the message's row.
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
