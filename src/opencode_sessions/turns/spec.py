"""`TurnSpec`: the parts of a turn that are the same for every run."""

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
from opencode_sessions.turns.gate import Gate, leave_places
from opencode_sessions.turns.observers import Listeners
from opencode_sessions.turns.options import TurnOptions
from opencode_sessions.turns.ports import TurnFiles, TurnWire
from opencode_sessions.turns.results import Fallback, TurnResult, said_of

__all__ = ["OnCancel", "TurnSpec"]

OnCancel = Literal["stop", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSpec:
    """A turn's stores, options and listeners."""

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
            await self.gate.admit(self._record, self.store.key, begun=begun)

    async def leave(self) -> None:
        """The turn runs no more: let those begin that wait for its places."""
        await self.hand_on(lambda: leave_places(self.gate, self._record, self.queue))

    @property
    def _record(self) -> Placement:
        return cast("Placement", self.lifecycle.store)

    async def hand_on(self, put: Callable[[], Awaitable[None]]) -> None:
        """Call the `queue`, so that a turn runs. An error is reported: recovery finds the turn later."""
        try:
            await put()
        except Exception as error:  # noqa: BLE001 - reported
            self.lifecycle.report_suppressed("enqueue", None, error)

    async def collect_files(self, wire: TurnWire, row: MessageState) -> None:
        """Collect the files of a turn that has ended. After an error, which is reported, recovery collects them."""
        try:
            await self.artifacts.collect(wire, self.store, row)
        except Exception as error:  # noqa: BLE001 - reported
            self.lifecycle.report_suppressed("collect", row.session_id, error)

    def said_of(self, error: Mapping[str, Any]) -> str:
        """The host's text for a turn that failed with this error; empty if the host's function raises."""
        try:
            return said_of(error, self.fallback)
        except Exception as swallowed:  # noqa: BLE001 - the turn ends, whatever the host's function raises
            self.lifecycle.report_suppressed("fallback", self.listeners.session_id, swallowed)
            return ""

    def found(self, row: MessageState) -> TurnFound:
        """The event `TurnFound` of the turn's row."""
        return TurnFound.of(self.store.key, self.lifecycle.store.key, row)

    def result(self, row: MessageState, **more: Any) -> TurnResult:
        """The result in a row that has ended."""
        shape = self.options.shape
        return TurnResult.of(row, make=shape.make if shape is not None else None, **more)
