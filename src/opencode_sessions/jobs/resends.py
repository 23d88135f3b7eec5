"""`Resends`: when recovery sends the job of a turn again that no worker has taken yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from opencode_sessions.store.turn_table import TurnJob

__all__ = ["Resends"]


class Resends:
    """The abandoned turns whose jobs this process has sent, as far as the last look found them again.

    A row does not say that a job for a turn that has begun is in the queue. So each look finds such a turn until a
    worker takes it, and a job at each look would fill the queue while all workers are busy or down. Each pause is
    therefore as long as all pauses before it together. A turn that a look did not find is forgotten: if its next worker
    dies, the turn is sent again at once.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: dict[TurnJob, tuple[float, float]] = {}  # the times of the first and the last job

    def due(self, found: Iterable[TurnJob], longest: float) -> list[TurnJob]:
        """The jobs to send now. They count as sent, until `forget`.

        Args:
            found: All jobs that a look has found.
            longest: The longest pause between two jobs of a turn, in seconds.
        """
        now, found = self._clock(), list(found)
        for job in set(self._sent).difference(found):
            self.forget(job)
        return [job for job in found if self._is_due(job, now, longest)]

    def forget(self, job: TurnJob) -> None:
        """Note that a job could not be sent."""
        self._sent.pop(job, None)

    def _is_due(self, job: TurnJob, now: float, longest: float) -> bool:
        first, last = self._sent.get(job, (now, now))
        due = now - last >= min(last - first, longest)
        if due:
            self._sent[job] = (first, now)
        return due
