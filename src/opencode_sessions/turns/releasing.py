"""Releasing a turn that runs here: asked for from another thread or task, and done without waiting for its runner.

The lease is cleared only when no write is in progress that would set it again, as the process may exit right after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from opencode_sessions.errors import TurnReleasedError
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.turns.ports import Events

__all__ = ["Release", "RowWrittenError"]

_PATIENCE = 5.0
_LOOK = 0.01


class RowWrittenError(Exception):
    """Raised by `Events.next`, only for `EventFollower`: another process may have written the row."""


class Release:
    """The request to release a turn, and the state of its runners in this process.

    Args:
        key: Returns the message's key.

    Attributes:
        epochs: The epochs of the runners.
        events: Their subscriptions.
    """

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key
        self._asked = False
        self._why = ""
        self._writes: list[None] = []
        self.epochs: list[int] = []
        self.events: list[Events] = []

    def check(self) -> None:
        """Go on only if no release was requested.

        Raises:
            TurnReleasedError: A release was requested.
        """
        if self._asked:
            raise self._error()

    def row_written(self) -> None:
        """Interrupt the runners that wait for events: see `RowWrittenError`."""
        for events in list(self.events):
            events.interrupt(RowWrittenError())

    async def write(self, write: Callable[[], Awaitable[bool]], *, last: bool = False) -> bool:
        """Make a write that may set the lease, and return its result.

        Raises:
            TurnReleasedError: A release was requested, and this is not the runner's last write.
        """
        self._writes.append(None)  # before the check, or a release could come in between
        try:
            if not last:
                self.check()
            return await write()
        finally:
            self._writes.pop()

    async def ask(self, clock: Clock, why: str = "") -> list[int]:
        """Request the release, and wait until no write is in progress, for at most 5 s.

        Args:
            clock: The clock of the wait.
            why: Text for the error that the runner raises.

        Returns:
            The epochs whose leases the caller must clear.
        """
        self._asked, self._why = True, why
        for events in list(self.events):
            events.interrupt(self._error())
        deadline = clock.monotonic() + _PATIENCE
        while self._writes and clock.monotonic() < deadline:
            await clock.sleep(_LOOK)
        return list(self.epochs)

    def _error(self) -> TurnReleasedError:
        key = self._key()
        return TurnReleasedError(
            f"the turn of {key} was released to the next runner{self._why}", message_key=key
        )
