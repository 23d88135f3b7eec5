"""The order of the jobs in a pool: the jobs of one record run one after another, each when its time has come.

Nothing here waits or locks; the pools do that.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from opencode_sessions.store.turn_table import TurnJob

__all__ = ["Schedule", "Scheduled"]


class Scheduled(Protocol):
    """The scheduled attempts at a job.

    Attributes:
        job: The job.
        first: After an attempt, the turn that must run before the next attempt; None if there is none.
    """

    job: TurnJob
    first: TurnJob | None


A = TypeVar("A", bound=Scheduled)


class Schedule(Generic[A]):
    """The jobs that a pool knows.

    Args:
        make: Makes the attempts at a new job.
    """

    def __init__(self, make: Callable[[TurnJob], A]) -> None:
        self._make = make
        self._queues: dict[str, deque[A]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._known: set[TurnJob] = set()
        self._again: set[TurnJob] = set()  # added while an attempt was on its way
        self._numbers = itertools.count()

    @property
    def jobs(self) -> list[TurnJob]:
        """All known jobs: they run, or wait for their record or for the time of their next attempt."""
        return list(self._known)

    @property
    def idle(self) -> bool:
        """Whether no job runs, and none waits."""
        return not self._known

    @property
    def waiting(self) -> int:
        """How many records wait for an attempt, now or later."""
        return len(self._due)

    def all(self) -> list[A]:
        """The attempts at all known jobs."""
        return [attempts for queue in self._queues.values() for attempts in queue]

    def begins(self, job: TurnJob) -> bool:
        """Can the job begin at once, because its record has no other job here?"""
        return job not in self._known and job.record not in self._queues

    def add(self, job: TurnJob, now: float) -> None:
        """Append a job to its record's queue. If it is known already, it gets one more attempt after a futile one."""
        if job in self._known:
            self._again.add(job)  # its current attempt may be parking it right now
            return
        if job.record not in self._queues:
            self._schedule(job.record, now)
        self._known.add(job)
        self._queues.setdefault(job.record, deque()).append(self._make(job))

    def next(self, now: float) -> A | None:
        """The attempts whose time has come, for one attempt, and then for `over`; None if there are none."""
        if not self._due or self._due[0][0] > now:
            return None
        _, _, record = heapq.heappop(self._due)
        attempts = self._queues[record][0]
        self._again.discard(attempts.job)
        return attempts

    def next_at(self) -> float | None:
        """When the next time comes; None if nothing waits for one."""
        return self._due[0][0] if self._due else None

    def over(self, attempts: A, pause: float | None, now: float) -> None:
        """Note the end of an attempt: schedule the next attempt, or the record's next job.

        Args:
            attempts: The attempts that `next` returned.
            pause: Seconds until the next attempt; None if there is none.
            now: The time.
        """
        job = attempts.job
        if pause is None and job in self._again:
            pause = 0.0
        if pause is not None:
            if attempts.first is not None:
                self._put_first(attempts.first)
            self._schedule(job.record, now + pause)
            return
        self._known.discard(job)
        queue = self._queues[job.record]
        queue.popleft()
        if queue:
            self._schedule(job.record, now)
        else:
            del self._queues[job.record]

    def _schedule(self, record: str, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), record))

    def _put_first(self, job: TurnJob) -> None:
        """Move or put the job to the head of its queue."""
        queue = self._queues[job.record]
        attempts = next((each for each in queue if each.job == job), None)
        if attempts is None:
            self._known.add(job)
            attempts = self._make(job)
        else:
            queue.remove(attempts)
        queue.appendleft(attempts)
