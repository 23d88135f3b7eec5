"""`Teller`: sends notes about a turn that runs here. It is a listener of the turn, and wraps the turn's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from opencode_sessions.live.notes import Delta, Note, RowWritten, TextEnd, checksum
from opencode_sessions.protocol.reply import Change
from opencode_sessions.store.messages import MessageState, MessageStore
from opencode_sessions.turns.events import ReplyChanged, TurnEvent, TurnFinished

__all__ = ["Teller"]


class Teller:
    """A listener of one turn, which writes to `store`.

    Args:
        tell: Called with each note.
        to_others: Whether other processes receive the notes. Only then deltas are sent.
    """

    def __init__(self, tell: Callable[[Note], None], *, to_others: bool) -> None:
        self._tell = tell
        self._to_others = to_others
        self._ends: dict[str, TextEnd] = {}
        self._grown: set[str] = set()
        self._since: int | None = None
        self._known: tuple[object, ...] = ()

    def store(self, store: MessageStore) -> MessageStore:
        """A store that writes to another one, and then sends a note."""
        return cast("MessageStore", _ToldStore(store, self))

    def __call__(self, event: TurnEvent) -> None:
        """See `Listener`."""
        match event:
            case ReplyChanged(change) if self._to_others:
                self._changed(change)
            case TurnFinished():  # another process may have ended it without a note
                self.written()
            case _:
                pass

    def _changed(self, change: Change) -> None:
        part, delta = change.part, change.delta
        if not delta:
            self._since = None
            self._ends.pop(part.id, None)
            return
        before = self._ends.get(part.id)
        if before is None:
            said = part.text[: -len(delta)]
            before = TextEnd(part.id, len(said), checksum(said))
        self._ends[part.id] = TextEnd(part.id, before.length + len(delta), checksum(delta, before.check))
        self._grown.add(part.id)
        self._tell(Delta(before, delta))

    def snapshot(self, state: MessageState) -> None:
        """Send a note after the answer so far was stored."""
        if not self._to_others:
            return
        known = _beside_texts(state)
        if self._since is None or known != self._known:
            self._since, self._known = state.revision, known
            self._grown.clear()
        ends = tuple(self._ends[part_id] for part_id in sorted(self._grown) if part_id in self._ends)
        self._tell(RowWritten(state.revision, self._since, ends))

    def written(self) -> None:
        """Send a note after any other write."""
        self._since = None
        self._tell(RowWritten())


def _beside_texts(state: MessageState) -> tuple[object, ...]:
    """The visible values of a row that no delta carries."""
    parts = tuple(part.get("id") for part in state.parts)
    return parts, tuple(state.asks), state.error, state.cost, state.input_tokens, state.output_tokens


class _ToldStore:
    def __init__(self, store: MessageStore, teller: Teller) -> None:
        self._store = store
        self._teller = teller

    async def take(self, seen: MessageState, lease: float) -> bool:
        """See `MessageStore.take`."""
        return self._tell(written=await self._store.take(seen, lease))

    async def reset_to_pending(self, epoch: int, lease: float | None = None) -> bool:
        """See `MessageStore.reset_to_pending`."""
        return self._tell(written=await self._store.reset_to_pending(epoch, lease))

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """See `MessageStore.snapshot`."""
        written = await self._store.snapshot(epoch, state, lease)
        if written:
            self._teller.snapshot(state)
        return written

    async def finish(self, epoch: int, state: MessageState) -> bool:
        """See `MessageStore.finish`."""
        return self._tell(written=await self._store.finish(epoch, state))

    async def cancel(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """See `MessageStore.cancel`."""
        return self._tell(written=await self._store.cancel(seen, error))

    async def update_after_cancel(self, epoch: int, state: MessageState) -> bool:
        """See `MessageStore.update_after_cancel`."""
        return self._tell(written=await self._store.update_after_cancel(epoch, state))

    def _tell(self, *, written: bool) -> bool:
        if written:
            self._teller.written()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
