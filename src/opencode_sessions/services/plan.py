"""What is the same for every run of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opencode_sessions.services.asks import AskHandler, InTheRow
from opencode_sessions.services.containing import Contained
from opencode_sessions.services.deadlines import Deadlines
from opencode_sessions.services.lifecycle import Lifecycle
from opencode_sessions.services.options import TurnOptions
from opencode_sessions.services.results import Fallback, TurnResult
from opencode_sessions.store.messages import MessageState, MessageStore

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Its stores, its options and who is told of it."""

    store: MessageStore
    lifecycle: Lifecycle
    options: TurnOptions
    deadlines: Deadlines
    observer: Contained
    on_ask: AskHandler | InTheRow | None
    fallback: Fallback

    def result(self, row: MessageState, **more: Any) -> TurnResult:
        """What a row that has ended says."""
        shape = self.options.shape
        return TurnResult.of(row, make=shape.make if shape is not None else None, **more)
