"""The store through which a job's turn writes: it tells the attempts of the job what happens to the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from opencode_sessions.store.messages import MessageState, MessageStore

__all__ = ["leased_store"]


def leased_store(
    store: MessageStore,
    *,
    taken: Callable[[], object],
    waits: Callable[[bool], object],
    pending_lease: Callable[[], float],
) -> MessageStore:
    """A store that writes through another one.

    Args:
        store: The message's.
        taken: Called when the turn was taken.
        waits: Called before each snapshot, with whether the agent waits for a person.
        pending_lease: Says for how many seconds the turn is reserved if it is put back.
    """
    return cast("MessageStore", _LeasedStore(store, taken, waits, pending_lease))


class _LeasedStore:
    def __init__(
        self,
        store: MessageStore,
        taken: Callable[[], object],
        waits: Callable[[bool], object],
        pending_lease: Callable[[], float],
    ) -> None:
        self._store = store
        self._taken = taken
        self._waits = waits
        self._pending_lease = pending_lease

    async def take(self, seen: MessageState, lease: float) -> bool:
        """See `MessageStore.take`."""
        taken = await self._store.take(seen, lease)
        if taken:
            self._taken()
        return taken

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """See `MessageStore.snapshot`."""
        self._waits(bool(state.asks))
        return await self._store.snapshot(epoch, state, lease)

    async def put_back(self, epoch: int, lease: float | None = None) -> bool:  # noqa: ARG002 - the port's
        """See `MessageStore.put_back`."""
        return await self._store.put_back(epoch, self._pending_lease())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
