"""The port of a message: what a turn needs of the host's row that one answer is stored in.

The same rules as for records: one short transaction a call, transitions by compare-and-set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["MessageState", "MessageStore", "TurnStatus"]


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
    """What a message's row holds of its turn. JSON-safe throughout."""

    prompt: str
    status: TurnStatus = TurnStatus.PENDING
    prompt_id: str | None = None
    content: str = ""
    parts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    error: Mapping[str, Any] | None = None
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class MessageStore(Protocol):
    """One message's row."""

    @property
    def key(self) -> str:
        """What names the row in errors and logs: ``"messages:7"``.

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

    async def start(self, expected: str | None, prompt_id: str) -> bool:
        """Take the turn: store `prompt_id` and `streaming`.

        With `expected` None the row must be `pending`; otherwise it must be `streaming` under the prompt
        id `expected`, which is replaced (a prompt id is never used in a second session).

        Returns:
            True if this call took it.
        """

    async def snapshot(self, prompt_id: str, state: MessageState) -> bool:
        """Store the answer so far (content, parts, bill), if the row is `streaming` under `prompt_id`.

        Returns:
            False if it is not: the turn was taken away or ended elsewhere.
        """

    async def finish(self, prompt_id: str, state: MessageState) -> bool:
        """Store the answer and its terminal status, if the row is `streaming` under `prompt_id`.

        Returns:
            False if it is not: what is stored stands.
        """

    def remember(self, state: MessageState) -> None:
        """Let the caller's own copy of the message show the state. Never queries."""
