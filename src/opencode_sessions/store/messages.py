"""The port of a message: what a turn needs of the host's row that one answer is stored in.

    pending ──take──► streaming ──finish──► completed | cancelled | failed    (`cancel` and `fail` need no `take`)
       ▲                │    │
       └───reset_to_pending─────┘    └──take (the next epoch)── by another runner, when the lease has run out

Whoever takes a turn raises its epoch, and writes under that epoch only: the row refuses a runner from whom it was
taken, or whose turn was cancelled or ended elsewhere. A lease tells a turn that somebody runs from one that was
abandoned; its clock is the store's own. A turn that is parked has no runner, and is waiting for a person: anybody
may take it at any time, and its lease says until when the person may answer.

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
"""For how many seconds after its last sign of life a process is believed to run the turns that it has reserved."""


class TurnStatus(StrEnum):
    """`pending → streaming → completed | cancelled | failed`."""

    PENDING = "pending"
    STREAMING = "streaming"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Is this the end of a turn?"""
        return self not in (TurnStatus.PENDING, TurnStatus.STREAMING)


@dataclass(frozen=True, slots=True)
class MessageState:
    """The state of a turn in its message's row. JSON-safe throughout, but for the two times.

    Attributes:
        prompt: What is asked.
        status: How far the turn is.
        epoch: Raised by each that takes the turn, or cancels it.
        abandoned: Nobody runs it any more: it is streaming, and its lease has run out.
        parked: Nobody runs it, until a person has answered what it asks, or its lease has run out: see `park`.
        session_id: Where the prompt was, or is about to be, sent.
        prompt_id: Under which message id.
        content: The answer's text.
        parts: The answer's parts, in order.
        asks: What the agent waits for a person to answer.
        error: Why it failed or was cancelled.
        revision: Raised by every write of the answer.
        trace: The span in which the message was made, as a W3C `traceparent`; None if there was none.
        enqueued_at: When the turn was enqueued, by the clock of that machine; None if it never was.
        started_at: When it was first taken, likewise.
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

    Every write says under which epoch, and answers False where the row is not `streaming` under it any more:
    what is stored stands.
    """

    @property
    def key(self) -> str:
        """The row's name in errors and logs: ``"messages:7"``.

        Raises:
            RecordNotSavedError: The message has no primary key yet.
        """

    def check(self) -> None:
        """Refuse what cannot work, without a query; as `RecordStore.check`."""

    async def load(self) -> MessageState:
        """The row as committed now.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def take(self, seen: MessageState, lease: float) -> bool:
        """Take the turn: `streaming`, under the epoch after the one that was seen.

        Args:
            seen: The row as it was loaded, pending or streaming. A row whose prompt was addressed, or whose answer was
                written, since then is not taken.
            lease: For how many seconds it is this runner's, unless it writes again.

        Returns:
            True for the one caller whose write this was.
        """

    async def set_prompt_target(self, epoch: int, session_id: str, prompt_id: str) -> bool:
        """Store where the prompt is about to be sent, and under which id."""

    async def reset_to_pending(self, epoch: int, lease: float | None = None) -> bool:
        """Make the row `pending` again: nothing was sent.

        Args:
            epoch: See the class.
            lease: For how many seconds somebody is going to run it again; None: for a minute if it was reserved when
                it was loaded, and else not at all.
        """

    async def extend(self, epoch: int, lease: float) -> bool:
        """Keep the turn for so many seconds more; 0 abandons it to the next runner."""

    async def park(self, epoch: int, lease: float) -> bool:
        """Leave the turn without a runner, for so many seconds at most; whoever takes it then ends that."""

    async def snapshot(self, epoch: int, state: MessageState, lease: float) -> bool:
        """Store the answer so far (content, parts, asks, bill, revision), and keep the turn."""

    async def finish(self, epoch: int, state: MessageState) -> bool:
        """Store the answer and its terminal status."""

    async def cancel(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """Make the row `cancelled`, under the epoch after the one that was seen, with the answer that it has.

        Args:
            seen: The row as it was loaded, pending or streaming; a write in between refuses this one.
            error: Who cancelled it, and why.
        """

    async def fail(self, seen: MessageState, error: Mapping[str, Any]) -> bool:
        """Make the row `failed`, likewise: nothing was sent, and nobody is going to.

        It is one write, so that nobody finds the turn running in between, and no crash leaves it so.
        """

    async def update_after_cancel(self, epoch: int, state: MessageState) -> bool:
        """Store what a turn that was cancelled under `epoch` had answered in the end."""

    def remember(self, state: MessageState) -> None:
        """Let the caller's own copy of the message show the state. Never queries."""

    def sibling(self, key: str) -> MessageStore | None:
        """The store of another message: the one whose turn has the record, so that it can be cancelled. Never queries.

        Args:
            key: That message's.

        Returns:
            One that shows no copy of the row what is stored; None if the key names no row of this table. Whether
            there is such a row, its `load` tells.
        """
