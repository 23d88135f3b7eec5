"""The lock that lets one turn of a record run at a time, in any process. It is a lease in the record's row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from opencode_sessions.errors import RecordGoneError, TurnInProgressError
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.store.messages import MessageState
from opencode_sessions.turns.releasing import Release

__all__ = ["RecordLock", "WhenBusy"]

WhenBusy = Literal["wait", "reject", "cancel"]
BusyWith = Callable[[], Awaitable[str | None]]
MakeWay = Callable[[str], Awaitable[bool]]
StateOf = Callable[[str], Awaitable[MessageState | None]]

_SETTLE = 1.5
_FIRST_LOOK = 0.1
_LAST_LOOK = 2.0


class RecordLock:
    """The lock of one message's turn on its record.

    Args:
        lifecycle: The lifecycle of the record's session.
        key: The message's key.
        when_busy: The action if another turn holds the lock.
        patience: The longest wait for the lock, in seconds.
        lease: Seconds after which the lock expires unless it is renewed.
        release: Ends every wait when the turn is released.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        key: str,
        *,
        when_busy: WhenBusy,
        patience: float,
        lease: float,
        release: Release,
    ) -> None:
        self._lifecycle = lifecycle
        self._key = key
        self._when_busy = when_busy
        self._patience = patience
        self._lease = lease
        self._release = release

    async def take(self, wire: SessionWire, make_way: MakeWay, state_of: StateOf) -> bool:
        """Acquire the lock.

        If the message that holds the lock was deleted while its turn was parked, its lock would last until the
        person's deadline. In that case, remove the lock and stop its agent.

        A turn's row says that it has ended a moment before it releases the lock, because its files are collected in
        between. `when_busy="reject"` waits for that, too.

        Args:
            wire: The server.
            make_way: As for `until_free`: cancels the turn that holds the lock.
            state_of: Reads the row of the message that holds the lock. None if it is of another table, whose rows
                cannot be read here; raises `RecordGoneError` if it was deleted.

        Returns:
            False if `make_way` says that the lock is no longer needed.

        Raises:
            TurnInProgressError: Another turn holds the lock, and `when_busy` or `patience` ends the wait.
        """
        store = self._lifecycle.store
        ended = False

        async def busy_with() -> str | None:
            nonlocal ended
            other = await store.claim(self._key, self._lease)
            if other is None:
                return None
            try:
                state = await state_of(other)
            except RecordGoneError:
                await store.unclaim(other)
                if (other := await store.claim(self._key, self._lease)) is None:
                    await self._lifecycle.abort(wire)
            else:
                ended = state is not None and state.status.terminal
            return other

        return await self.until_free(wire, busy_with, settling=lambda: ended, make_way=make_way)

    async def keep(self, seconds: float | None = None) -> bool:
        """Renew the lock, by default for another lease. False if this turn no longer holds it."""
        return await self._lifecycle.store.hold(self._key, self._lease if seconds is None else seconds)

    async def share(self) -> None:
        """Hold the lock together with the turn's runner, or in place of a dead one, unless another turn holds it."""
        await self._lifecycle.store.claim(self._key, self._lease)

    async def release(self) -> None:
        """Release the lock. An error is reported, not raised: the lock then expires by itself."""
        try:
            await self._lifecycle.store.unclaim(self._key)
        except RecordGoneError:
            pass  # the lock is gone with the record
        except Exception as error:  # noqa: BLE001 - reported, not raised: the turn has ended
            self._lifecycle.report_suppressed("release", None, error)

    async def until_free(
        self,
        wire: SessionWire,
        busy_with: BusyWith,
        *,
        settling: Callable[[], bool] = lambda: False,
        make_way: MakeWay | None = None,
    ) -> bool:
        """Poll `busy_with` until it returns None.

        Args:
            wire: The server.
            busy_with: Names the turn that blocks this one, or returns None.
            settling: Tells after each poll whether what blocks this turn is about to end by itself, such as a session
                that was aborted. Then even `when_busy="reject"` waits, for 1.5 s.
            make_way: Called after each poll with `when_busy="cancel"`: ends the blocking turn, and tells whether to
                poll again. By default the session is aborted while this turn holds the record. If this same turn runs
                in another process, it is never ended; the caller waits for it.

        Returns:
            False if `make_way` returned False.

        Raises:
            TurnInProgressError: Another turn still blocks this one.
            TurnReleasedError: The turn was released.
        """
        began = wire.clock.monotonic()
        deadline, settled = began + self._patience, began + _SETTLE
        pause = _FIRST_LOOK
        while (other := await busy_with()) is not None:
            self._release.check()
            patient = self._when_busy != "reject" or (settling() and wire.clock.monotonic() < settled)
            if not patient or wire.clock.monotonic() >= deadline:
                raise self._in_progress(other)
            if self._when_busy == "cancel" and other != self._key:
                if make_way is None:
                    await self._abort(wire)
                elif not await make_way(other):
                    return False
            await wire.clock.sleep(pause)
            # At most a third of a lease: a turn that waits must renew its own lease in between.
            pause = min(pause * 2, _LAST_LOOK, self._lease / 3)
        return True

    def lost(self) -> TurnInProgressError:
        """The error of a turn whose lock expired before it could send its prompt."""
        return TurnInProgressError(
            f"the turn of {self._key} cannot send its prompt: its lock on the record was not renewed for "
            f"{self._lease:g} s (Deadlines.lease), and another turn took the lock. Run it later",
            message_key=self._key,
        )

    def _in_progress(self, other: str) -> TurnInProgressError:
        if self._when_busy == "reject":
            advice = "Run it later, or say when_busy='wait' or 'cancel'"
        else:
            advice = f"It was waited for, for {self._patience:g} s (Deadlines.queue). Run it later"
        return TurnInProgressError(
            f"the turn of {self._key} cannot begin: {other} is still being answered in the same session; "
            f"this turn stays pending. {advice}",
            message_key=self._key,
        )

    async def _abort(self, wire: SessionWire) -> None:
        """Abort the session, unless this turn was cancelled in the meantime and the next one uses the session."""
        if await self._lifecycle.store.hold(self._key, self._lease):
            await self._lifecycle.abort(wire)
