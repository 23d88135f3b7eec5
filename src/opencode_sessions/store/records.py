"""The port of a record: the host's row that names a session.

The row is the only source of truth and the only lock. Every method is one short transaction of its own, which begins
and ends within the call. A transition is a compare-and-set: it names the expected values, and returns what it found
instead.

A row has its own store, from `__opencode_store__(*, asynchronous)`, which the mixins and `MemoryRecord` define.

In the sync API the methods return without suspending; in the async API they suspend as usual. One Protocol describes
both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["RecordState", "RecordStore"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordState:
    """The columns of a record, as one transaction read them: nothing, reserved, ready or deleting.

    Attributes:
        session_id: The session that the row names.
        ready: Whether its rules are in force, so that it may be prompted.
        digest: The digest of the title, rules and directory that were applied.
        deleting: Whether its deletion has begun, so that it must not be used or confirmed.
        server: The name of the server that has it; None if no name was ever written.
    """

    session_id: str | None = None
    ready: bool = False
    digest: str | None = None
    deleting: bool = False
    server: str | None = None


class RecordStore(Protocol):
    """One record's row.

    If the row was deleted, a method that returns a state raises `RecordGoneError`, and a method that returns whether it
    wrote returns False.
    """

    @property
    def key(self) -> str:
        """The row's name in errors, logs and the session's metadata: ``"conversations:42"``.

        Raises:
            RecordNotSavedError: The record has no primary key yet.
        """

    @property
    def seen(self) -> str | None:
        """The session id that the caller's own copy of the record carries. Never queries."""

    @property
    def seen_server(self) -> str | None:
        """The server that the caller's own copy of the record names. Never queries."""

    def check(self) -> None:
        """Check without a query that the store can work.

        Raises:
            RecordNotSavedError: The record is not saved.
            OpenTransactionError: The caller holds a transaction open around the call.
            ConfigurationError: The model lacks a column, or the record's database cannot be reached.
        """

    async def load(self) -> RecordState:
        """The row as committed now.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def read(self, function: Callable[[Any], T]) -> tuple[RecordState, T]:
        """The row, and the result of `function` for a fresh copy of the record, from one transaction.

        The function may follow relations; its changes are not stored.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def reserve(
        self, expected: str | None, session_id: str, *, server: str | None = None
    ) -> RecordState:
        """Write `session_id`, not ready, if the row still names `expected`, in whatever state.

        Args:
            expected: The id that the row named.
            session_id: The new id.
            server: Written in the same statement; None: the row's server stays.

        Returns:
            The row afterwards: with our id, or with another worker's.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def supersede(self, expected: str, session_id: str, *, server: str | None = None) -> RecordState:
        """Write `session_id`, not ready, if the row names `expected` as only reserved: not ready, not deleting.

        Args:
            expected: The id that the row named.
            session_id: The new id.
            server: See `reserve`.

        Returns:
            The row afterwards: with our id, or with another worker's.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def confirm(self, session_id: str, digest: str) -> bool:
        """Mark the row ready, if it still names `session_id`, not ready and not deleting.

        Args:
            session_id: The session that was created.
            digest: The digest of its spec, at most 64 characters.

        Returns:
            True for the one caller whose write this was.
        """

    async def set_digest(self, session_id: str, expected: str | None, digest: str) -> bool:
        """Write another digest, if the row names `session_id`, ready, with the digest `expected`.

        Returns:
            True if it was written.
        """

    async def mark_deleting(self, session_id: str) -> bool:
        """Mark the row as deleting, and so not ready, if it names `session_id`. It can be repeated.

        Returns:
            True if the row names the session.
        """

    async def clear_deleted(self, session_id: str) -> bool:
        """Remove the session from the row, if the row names `session_id` as deleting.

        Returns:
            True for the one caller whose write this was.
        """

    async def claim(self, holder: str, lease: float) -> str | None:
        """Acquire the record's lock for one turn, so that no other turn runs in the record.

        Args:
            holder: The key of the turn's message.
            lease: Seconds until the lock expires, by the store's own clock. The same holder can renew it.

        Returns:
            None if the holder has the lock now; otherwise the other holder.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def hold(self, holder: str, lease: float) -> bool:
        """Renew the lock if this holder still owns it. A holder that lost the lock does not get it back.

        Args:
            holder: As for `claim`.
            lease: Seconds from now until the lock expires.
        """

    async def unclaim(self, holder: str) -> None:
        """Release the lock, if this holder owns it."""

    def remember(self, state: RecordState) -> None:
        """Update the caller's own copy of the record. Never queries."""
