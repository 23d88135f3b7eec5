"""What is the same for every run of a turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.sessions.servers import Placement
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.store.queue import TurnQueue
from opencode_sessions.turns.asks import AskHandler, InTheRow
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.events import TurnFound
from opencode_sessions.turns.gate import Gate
from opencode_sessions.turns.observers import Listeners
from opencode_sessions.turns.options import TurnOptions
from opencode_sessions.turns.ports import TurnFiles, TurnWire
from opencode_sessions.turns.results import Fallback, TurnResult, said_of

__all__ = ["OnCancel", "TurnSpec"]

OnCancel = Literal["stop", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSpec:
    """Its stores, its options and who is told of it."""

    store: MessageStore
    lifecycle: Lifecycle
    options: TurnOptions
    deadlines: Deadlines
    listeners: Listeners
    on_ask: AskHandler | InTheRow | None
    fallback: Fallback
    on_cancel: OnCancel
    queue: TurnQueue
    artifacts: TurnFiles
    gate: Gate | None = None

    async def admit(self, *, begun: bool) -> None:
        """See `Gate.admit`."""
        if self.gate is not None:
            await self.gate.admit(cast("Placement", self.lifecycle.store), self.store.key, begun=begun)

    async def hand_on(self, put: Callable[[], Awaitable[None]]) -> None:
        """Have a turn run, by a call of the `queue`. An error is reported: its lease expires, or recovery finds it."""
        try:
            await put()
        except Exception as error:  # noqa: BLE001 - reported
            self.lifecycle.report_suppressed("enqueue", None, error)

    async def collect_files(self, wire: TurnWire, row: MessageState) -> None:
        """Of a turn that has ended. An error is reported: the files stay due, and recovery collects them."""
        try:
            await self.artifacts.collect(wire, self.store, row)
        except Exception as error:  # noqa: BLE001 - reported
            self.lifecycle.report_suppressed("collect", row.session_id, error)

    def said_of(self, error: Mapping[str, Any]) -> str:
        """What the host says of a turn that failed so, if that can be had."""
        try:
            return said_of(error, self.fallback)
        except Exception as swallowed:  # noqa: BLE001 - the turn has its end, whatever the host's function does
            self.lifecycle.report_suppressed("fallback", self.listeners.session_id, swallowed)
            return ""

    def found(self, row: MessageState) -> TurnFound:
        """What listeners are told of the turn's row."""
        return TurnFound.of(self.store.key, self.lifecycle.store.key, row)

    def result(self, row: MessageState, **more: Any) -> TurnResult:
        """What a row that has ended says."""
        shape = self.options.shape
        return TurnResult.of(row, make=shape.make if shape is not None else None, **more)
