"""The two leases of one run of a turn: the one in its message's row, and the record's lock.

A process can be stopped (SIGSTOP, a frozen container) for longer than its leases last. So both are renewed right before
a prompt is sent, and a run that has lost one of them sends nothing.
"""

from __future__ import annotations

from opencode_sessions.errors import TurnTakenError
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.turns.claim import RecordLock
from opencode_sessions.turns.releasing import Release
from opencode_sessions.turns.spec import TurnSpec

__all__ = ["RunLeases", "taken"]


class RunLeases:
    """Renews the leases of one run.

    Args:
        spec: The turn.
        clock: The clock of the renewals.
        claim: The record's lock.
        release: See `Release`.
        epoch: The epoch of this run.
    """

    def __init__(
        self, spec: TurnSpec, clock: Clock, claim: RecordLock, release: Release, *, epoch: int
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._claim = claim
        self._release = release
        self._epoch = epoch
        self._renewed = clock.monotonic()

    @property
    def due(self) -> bool:
        """Whether a third of the lock's lease has passed since it was renewed."""
        return self._clock.monotonic() - self._renewed >= self._spec.deadlines.lease / 3

    async def extend(self) -> bool:
        """Extend the lease of the message. False if another runner has taken or ended the turn."""
        store, lease = self._spec.store, self._spec.deadlines.lease
        return await self._release.write(lambda: store.extend(self._epoch, lease))

    async def lock(self) -> bool:
        """Renew the record's lock. False if this turn no longer holds it."""
        locked = await self._claim.keep()
        self._renewed = self._clock.monotonic()
        return locked

    async def check(self) -> None:
        """Renew both leases, before the prompt is sent.

        Raises:
            TurnTakenError: Another runner has taken or ended the turn.
            TurnInProgressError: Another turn has taken the record's lock.
        """
        locked = await self.lock()
        if not await self.extend():
            raise taken(self._spec.store.key)
        if not locked:
            raise self._claim.lost()


def taken(key: str) -> TurnTakenError:
    """The error of a runner whose write the row has refused."""
    return TurnTakenError(f"the turn of {key} was taken or ended elsewhere", message_key=key)
