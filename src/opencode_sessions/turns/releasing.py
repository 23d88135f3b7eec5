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
    """Raised by `Events.next`, for `EventFollower` alone: somebody else has written the row, perhaps."""


class Release:
    """Whether a turn is to be released, and what its runners here hold.

    Args:
        key: The message's.

    Attributes:
        epochs: Under which its runners have taken it.
        events: What they listen to.
    """

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key
        self._asked = False
        self._why = ""
        self._writes: list[None] = []
        self.epochs: list[int] = []
        self.events: list[Events] = []

    def check(self) -> None:
        """Go on only if nobody has asked for it.

        Raises:
            TurnReleasedError: Somebody has.
        """
        if self._asked:
            raise self._error()

    def row_written(self) -> None:
        """Interrupt whoever waits for events: see `RowWrittenError`."""
        for events in list(self.events):
            events.interrupt(RowWrittenError())

    async def write(self, write: Callable[[], Awaitable[bool]], *, last: bool = False) -> bool:
        """What a write says that may set the lease; there is none once the release was asked for, but the last one.

        Raises:
            TurnReleasedError: It was, and this is not the runner's last write.
        """
        self._writes.append(None)  # before the look, or the release could come in between
        try:
            if not last:
                self.check()
            return await write()
        finally:
            self._writes.pop()

    async def ask(self, clock: Clock, why: str = "") -> list[int]:
        """Ask for it, and wait, for 5 s at most, until no write is in progress.

        Args:
            clock: By which to wait.
            why: For the error that the runner raises.

        Returns:
            The epochs whose leases are to be cleared.
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
