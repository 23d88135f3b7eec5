"""The port of a record: what a session's lifecycle needs of the host's row.

The row is the only truth and the only lock. Every method is one short transaction of its own, begun and
ended within the call; none is open when it returns. A transition is a compare-and-set: it says what it
expects to find, and reports what it found instead.

A row finds its own store by `__opencode_store__(*, asynchronous)`, which the mixins and `MemoryRecord` have.

In the sync face the methods do their work and return without ever suspending; in the async face they
suspend as usual. One Protocol describes both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["RecordState", "RecordStore"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordState:
    """The two columns of a record, as one transaction read them."""

    session_id: str | None
    ready: bool


class RecordStore(Protocol):
    """One record's row."""

    @property
    def key(self) -> str:
        """What names the row in errors, logs and the session's metadata: ``"conversations:42"``.

        Raises:
            RecordNotSavedError: The record has no primary key yet.
        """

    @property
    def seen(self) -> str | None:
        """The session id that the caller's own copy of the record carries. Never queries."""

    def check(self) -> None:
        """Refuse what cannot work, without a query.

        Raises:
            RecordNotSavedError: The record is not saved.
            OpenTransactionError: The caller holds a transaction open around the call.
            ConfigurationError: The model lacks a column, or the record cannot be reached.
        """

    async def load(self) -> RecordState:
        """The row as committed now.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def read(self, function: Callable[[Any], T]) -> T:
        """Call `function` with a fresh copy of the record, inside one transaction: it may follow relations.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def reserve(self, expected: str | None, session_id: str) -> RecordState:
        """Write `session_id`, not ready, if the row still names `expected`.

        Returns:
            The row as it is afterwards: ours, or what another worker wrote.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def confirm(self, session_id: str) -> bool:
        """Mark the row ready, if it still names `session_id` and is not ready yet.

        Returns:
            True for the one caller whose write this was.
        """

    def remember(self, state: RecordState) -> None:
        """Let the caller's own copy of the record show the state. Never queries."""
