"""One turn at a time for a record, whatever process: a claim in the record's row, which runs out with its holder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from opencode_sessions.errors import RecordGoneError, TurnInProgressError
from opencode_sessions.sessions.lifecycle import Lifecycle
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.turns.releasing import Release

__all__ = ["RecordLock", "WhenBusy"]

WhenBusy = Literal["wait", "reject", "cancel"]
BusyWith = Callable[[], Awaitable[str | None]]
MakeWay = Callable[[str], Awaitable[bool]]

_SETTLE = 1.5
_FIRST_LOOK = 0.1
_LAST_LOOK = 2.0


class RecordLock:
    """The claim of one message's turn on its record.

    Args:
        lifecycle: Of the record's session.
        key: The message's.
        when_busy: What to do where another turn has it.
        patience: For how many seconds to wait, or to try to cancel.
        lease: For how many seconds it holds, unless it is kept.
        release: Ends every wait, if the turn is to be released.
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

    async def take(
        self, wire: SessionWire, make_way: MakeWay, is_gone: Callable[[str], Awaitable[bool]]
    ) -> bool:
        """Returns when the record is ours.

        A message that was deleted while its turn was parked would have it for as long as a person had time to answer:
        its claim ends here, and its agent is stopped.

        Args:
            wire: The server.
            make_way: As for `until_free`: cancels the turn that has it.
            is_gone: Was the message that has it deleted?

        Returns:
            False where `make_way` says that it is not wanted any more.

        Raises:
            TurnInProgressError: It is not, and was not to be waited for, or not any longer.
        """
        store = self._lifecycle.store

        async def busy_with() -> str | None:
            other = await store.claim(self._key, self._lease)
            if other is None or not await is_gone(other):
                return other
            await store.unclaim(other)
            if (other := await store.claim(self._key, self._lease)) is None:
                await self._lifecycle.abort(wire)
            return other

        return await self.until_free(wire, busy_with, make_way=make_way)

    async def keep(self, seconds: float | None = None) -> None:
        """Hold it for so many seconds, by default another lease, if nobody let go of it: the turn may have ended."""
        await self._lifecycle.store.hold(self._key, self._lease if seconds is None else seconds)

    async def share(self) -> None:
        """Hold it beside the turn's runner, or in place of a dead one, unless another turn has it already."""
        await self._lifecycle.store.claim(self._key, self._lease)

    async def release(self) -> None:
        """Let the next turn in. What goes wrong is reported: the claim then runs out by itself."""
        try:
            await self._lifecycle.store.unclaim(self._key)
        except RecordGoneError:
            pass  # and with it what it was claimed for
        except Exception as error:  # noqa: BLE001 - reported, not raised: the turn has its end
            self._lifecycle.report_suppressed("release", None, error)

    async def until_free(
        self,
        wire: SessionWire,
        busy_with: BusyWith,
        *,
        settling: bool = False,
        make_way: MakeWay | None = None,
    ) -> bool:
        """Returns when `busy_with` says that nothing is in the way; it is asked again and again.

        Args:
            wire: The server.
            busy_with: Names what is in the way, if something is.
            settling: Give it a moment in any case: what was only just aborted is busy a little longer.
            make_way: With `cancel`, ends what is in the way, after each look, and says whether to look again. By
                default the session is aborted, as long as the record is ours. This very turn, run elsewhere, is
                never ended, but waited for.

        Returns:
            False where `make_way` said that it is in vain.

        Raises:
            TurnInProgressError: Something is.
            TurnReleasedError: The turn was released.
        """
        began = wire.clock.monotonic()
        deadline, settled = began + self._patience, began + _SETTLE
        pause = _FIRST_LOOK
        while (other := await busy_with()) is not None:
            self._release.check()
            patient = self._when_busy != "reject" or (settling and wire.clock.monotonic() < settled)
            if not patient or wire.clock.monotonic() >= deadline:
                raise self._in_progress(other)
            if self._when_busy == "cancel" and other != self._key:
                if make_way is None:
                    await self._abort(wire)
                elif not await make_way(other):
                    return False
            await wire.clock.sleep(pause)
            # Not longer than a third of a lease: who waits shows in between that it lives.
            pause = min(pause * 2, _LAST_LOOK, self._lease / 3)
        return True

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
        """Abort the session, unless the next turn is in it already: this one may have been cancelled meanwhile."""
        if await self._lifecycle.store.hold(self._key, self._lease):
            await self._lifecycle.abort(wire)
