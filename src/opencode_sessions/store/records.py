"""The port of a record: what a session's lifecycle needs of the host's row.

The row is the only truth and the only lock. Every method is one short transaction of its own, begun and
ended within the call; none is open when it returns. A transition is a compare-and-set: it says what it
expects to find, and reports what it found instead.

A row finds its own store by `__opencode_store__(*, asynchronous)`, which the mixins and `MemoryRecord` have.

In the sync API the methods do their work and return without ever suspending; in the async API they
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
    """The columns of a record, as one transaction read them: nothing, reserved, ready or deleting.

    Attributes:
        session_id: The session that the row names.
        ready: Its rules are in force: it may be prompted.
        digest: Of the title, rules and directory that were put in force in it.
        deleting: Somebody began to delete it: it is not to be used or finished any more.
        server: Which of several servers has it, by name; None: no name was ever written.
    """

    session_id: str | None = None
    ready: bool = False
    digest: str | None = None
    deleting: bool = False
    server: str | None = None


class RecordStore(Protocol):
    """One record's row.

    A method whose row has vanished raises `RecordGoneError` where it has something to return, and answers
    False where it asks whether something was done.
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

    async def read(self, function: Callable[[Any], T]) -> tuple[RecordState, T]:
        """The row, and what `function` makes of a fresh copy of the record, from one transaction.

        The function may follow relations; what it changes is not stored.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def reserve(
        self, expected: str | None, session_id: str, *, server: str | None = None
    ) -> RecordState:
        """Write `session_id`, not ready, if the row still names `expected`, whatever became of that one.

        Args:
            expected: What the row named.
            session_id: The new id.
            server: Written in the same statement; None: the row names the server that it named before.

        Returns:
            The row as it is afterwards: ours, or what another worker wrote.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def supersede(self, expected: str, session_id: str, *, server: str | None = None) -> RecordState:
        """Write `session_id`, not ready, if the row names `expected`, only reserved: not ready, not deleting.

        Args:
            expected: What the row named.
            session_id: The new id.
            server: As of `reserve`.

        Returns:
            The row as it is afterwards: ours, or what another worker wrote.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def confirm(self, session_id: str, digest: str) -> bool:
        """Mark the row ready, if it still names `session_id`, not ready yet and not being deleted.

        Args:
            session_id: What was made.
            digest: Of what is in force in it, at most 64 characters.

        Returns:
            True for the one caller whose write this was.
        """

    async def set_digest(self, session_id: str, expected: str | None, digest: str) -> bool:
        """Write another digest, if the row names `session_id`, ready, with the digest that is `expected`.

        Returns:
            True if it did.
        """

    async def mark_deleting(self, session_id: str) -> bool:
        """Mark the row as deleting, and so not ready, if it names `session_id`. May be repeated.

        Returns:
            True if it names it.
        """

    async def clear_deleted(self, session_id: str) -> bool:
        """Let the row name nothing, if it names `session_id`, which is being deleted.

        Returns:
            True for the one caller whose write this was.
        """

    async def claim(self, holder: str, lease: float) -> str | None:
        """Hold the record for one turn, so that no other runs in it.

        Args:
            holder: What names the turn; as long as a key of the host's is.
            lease: For how many seconds, by the store's own clock, unless it is claimed again.

        Returns:
            None if it is held; otherwise who holds it.

        Raises:
            RecordGoneError: There is no such row.
        """

    async def hold(self, holder: str, lease: float) -> bool:
        """Hold it longer, if this holder still has it: one who was let go of comes by no new claim so.

        Args:
            holder: As for `claim`.
            lease: For how many seconds from now.
        """

    async def unclaim(self, holder: str) -> None:
        """Let go of the record, if this holder has it."""

    def remember(self, state: RecordState) -> None:
        """Let the caller's own copy of the record show the state. Never queries."""
