"""Limits on turns at a time: a gate that a turn passes before its prompt is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from opencode_sessions.errors import OpencodeError, TurnLimitError
from opencode_sessions.sessions.servers import Placement
from opencode_sessions.store.queue import TurnQueue
from opencode_sessions.store.turn_table import Place

__all__ = ["Gate", "leave_places", "may_begin"]


class Gate(Protocol):
    """Says whether a turn may begin. It counts rows, so that the limit holds in all processes, whichever crash."""

    async def admit(self, record: Placement, key: str, *, begun: bool) -> None:
        """Admit the turn, or refuse it.

        It is called twice: before the turn is started, and once its row says that the turn runs. The second call
        decides, because the row counts by then. The first one saves work.

        Args:
            record: The store of the turn's record.
            key: The message's key.
            begun: Whether the row says that the turn runs.

        Raises:
            TurnLimitError: The turn may not begin now. Its row is pending afterwards.
        """

    async def places(self, record: Placement) -> Sequence[Place]:
        """The places that a turn of this record leaves when it ends or is parked: others may wait for them."""


async def may_begin(gate_of: Callable[[], tuple[Gate | None, Placement]], key: str) -> bool:
    """Whether no limit keeps a turn waiting. A turn that fails when it begins may begin: its end wakes others.

    Args:
        gate_of: Makes the gate of the turn, and the store of its record, by functions of the host, which may raise.
        key: The message's key.
    """
    try:
        gate, record = gate_of()
    except Exception:  # noqa: BLE001 - the turn begins, and fails with this error
        return True
    try:
        if gate is not None:
            await gate.admit(record, key, begun=False)
    except TurnLimitError:
        return False
    except OpencodeError:
        pass
    return True


async def leave_places(gate: Gate | None, record: Placement, queue: TurnQueue) -> None:
    """Run the turns that wait for the places of a turn of this record: one for each place."""
    for place in await gate.places(record) if gate is not None else ():
        await queue.put_waiting(place)
