"""The port of a message: the host's row that stores one prompt and its answer.

    pending ──take──► streaming ──finish──► completed | cancelled | failed    (`cancel` and `fail` need no `take`)
       ▲                │    │
       └───reset_to_pending─────┘    └──take (the next epoch)── by another runner, when the lease has expired

A runner that takes a turn raises its epoch, and writes only under that epoch. So the row refuses the writes of a runner
whose turn was taken by another one, cancelled or ended. The lease tells a running turn from an abandoned one; it goes
by the store's own clock. A parked turn has no runner and waits for a person. Any process may take it at any time, and
its lease ends with the person's deadline.

The same rules as for records: one short transaction a call, transitions by compare-and-set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["PENDING_LEASE", "MessageState", "MessageStore", "TurnStatus"]

PENDING_LEASE = 60.0
"""Seconds from a process's last renewal until the turns that it has reserved count as abandoned."""


class TurnStatus(StrEnum):
    """`pending → streaming → completed | cancelled | failed`."""

    PENDING = "pending"
    STREAMING = "streaming"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Has the turn ended?"""
        return self not in (TurnStatus.PENDING, TurnStatus.STREAMING)


@dataclass(frozen=True, slots=True)
class MessageState:
    """The state of a turn in its message's row. All values except the two times are JSON-safe.

    Attributes:
        prompt: The prompt's text.
        status: The turn's status.
        epoch: Raised by each runner that takes the turn, and by a cancel.
        abandoned: Whether the turn is streaming and its lease has expired.
        parked: Whether the turn waits without a runner for a person or for its deadline: see `park`.
        session_id: The session to which the prompt was, or is about to be, sent.
        prompt_id: The id of the prompt's message.
        content: The answer's text.
        parts: The answer's parts, in order.
        asks: The asks that wait for a person.
        error: Why the turn failed or was cancelled.
        revision: Raised by every write of the answer.
        trace: The span in which the message was made, as a W3C `traceparent`; None without one.
        enqueued_at: When the turn was enqueued, by the clock of that machine; None if it never was.
        started_at: When a runner first took it, likewise.
    """

    prompt: str
    status: TurnStatus = TurnStatus.PENDING
    epoch: int = 0
    abandoned: bool = False
    parked: bool = False
    session_id: str | None = None
    prompt_id: str | None = None
    content: str = ""
    parts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    asks: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    error: Mapping[str, Any] | None = None
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    revision: int = 0
    trace: str | None = None
    enqueued_at: datetime | None = field(default=None, compare=False)
    started_at: datetime | None = field(default=None, compare=False)


class MessageStore(Protocol):
    """One message's row.

    Every write names its epoch. If the row is not `streaming` under that epoch, the write returns False and changes
    nothing.
    """

    @property
    def key(self) -> str:
        """The row's name in errors and logs: ``"messages:7"``.

        Raises:
            RecordNotSavedError: The message has no primary key yet.
        """

    def check(self) -> None:
        """Check without a query that the store can work; see `RecordStore.check`."""

    async def load(self) -> MessageState:
        """The row as committed now.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def take(self, seen: MessageState, lease: float) -> bool:
        """Take the turn: set it to `streaming`, under the next epoch.

        Args:
            seen: The row as it was loaded, pending or streaming. The turn is not taken if its prompt target or its
                answer was written since then.
            lease: The lease, in seconds; each later write renews it.

        Returns:
            True for the one caller whose write this was.
        """

    async def set_prompt_target(self, epoch: int, session_id: str, prompt_id: str) -> bool:
        """Store the session and the message id of the prompt, before it is sent."""

    async def reset_to_pending(self, epoch: int, lease: float | None = None) -> bool:
        """Set the row to `pending` again, because nothing was sent.

        Args:
            epoch: See the class.
            lease: Seconds for which the turn stays reserved. None: a minute if it was reserved when it was loaded, else
                not at all.
        """

    async def extend(self, epoch: int, lease: float) -> bool:
        """Set the lease to `lease` seconds from now; 0 abandons the turn to the next runner."""

    async def park(self, epoch: int, lease: float) -> bool:
        """Mark the turn as parked: it has no runner, for at most `lease` seconds. The next `take` ends that."""

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """Store the answer so far (content, parts, asks, cost, tokens, revision), and renew the lease."""

    async def finish(self, epoch: int, state: MessageState) -> bool:
        """Store the answer and its terminal status."""

    async def cancel(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """Set the row to `cancelled`, under the next epoch. Its answer stays.

        Args:
            seen: The row as it was loaded, pending or streaming. After another write in between, this one is refused.
            error: The name of the person or program that cancelled it, and the reason.
        """

    async def fail(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """Set the row to `failed`, as `cancel` does, for a turn whose prompt will not be sent.

        It is one write, so that the turn never looks as if it were running, not even after a crash.
        """

    async def update_after_cancel(self, epoch: int, state: MessageState) -> bool:
        """Store the last part of the answer of a turn that was cancelled under `epoch`."""

    def remember(self, state: MessageState) -> None:
        """Update the caller's own copy of the message. Never queries."""

    def sibling(self, key: str) -> MessageStore | None:
        """The store of another message, whose turn holds the record, so that it can be cancelled. Never queries.

        Args:
            key: The other message's key.

        Returns:
            A store without a copy of the row to update; None if the key is not of this table. Its `load` tells whether
            there is such a row.
        """
