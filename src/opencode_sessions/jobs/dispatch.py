"""Running a job at once in the caller's own thread or task, for the worker of a queue and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from opencode_sessions.jobs.attempts import TurnAttempts
from opencode_sessions.jobs.left_behind import left_behind
from opencode_sessions.jobs.ports import JobHost, QueueHost
from opencode_sessions.runtime.stepping import blocking_sleep, run_sync
from opencode_sessions.store.messages import PENDING_LEASE
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.turns.results import TurnResult

__all__ = ["InlineDispatcher", "JobRun", "arun_job", "dispatch_abandoned", "run_job"]


def run_job(host: JobHost, job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """Run a turn to its end in the caller's thread. Repeated calls, and calls at once in several places, are safe.

    If an earlier turn of its record is not running, that one runs first. The call does not wait for a person, nor for
    another turn of the record: a turn that must wait is parked, and a new job comes when it can go on. If another
    process runs the turn, this call leaves it alone; recovery finds the turn if that process dies. An error that
    prevents the turn is not raised, but stored in the message's row. A host that is not started is started.

    Args:
        host: The host of the job.
        job: The job.
        patience: How long to wait for a server that is away, in seconds; by default the turn's
            `Deadlines.unreachable`.

    Returns:
        The result; None if another process runs the turn, it is parked, or its row was deleted.

    Raises:
        ConfigurationError: The host cannot be started here. The row is unchanged.
    """
    return run_sync(JobRun(host, job, patience).run(blocking_sleep))


async def arun_job(host: JobHost, job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """See `run_job`; for asyncio."""
    return await JobRun(host, job, patience).run(asyncio.sleep)


class JobRun:
    """The run of a job, together with the turns that come before it; see `run_job`."""

    def __init__(self, host: JobHost, job: TurnJob, patience: float | None = None) -> None:
        self._host = host
        self._patience = patience
        self._known = [self._attempts(job)]
        self._released = False

    def _attempts(self, job: TurnJob) -> TurnAttempts:
        return TurnAttempts(self._host, job, when_busy="reject", patience=self._patience)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> TurnResult | None:
        """Run the job to its end, or until it is released."""
        await self._host.ready()
        while not self._released:
            attempts = self._known[-1]
            pause = await attempts.attempt()
            if pause is not None:
                await sleep(pause)
            elif len(self._known) == 1:
                return attempts.result
            else:
                self._known.pop()
            if attempts.first is not None:
                self._known.append(self._attempts(attempts.first))
        return None

    async def release(self) -> None:
        """Release the turns, because this process is about to end. Call it from another thread or task."""
        self._released = True
        known = list(self._known)
        for attempts in known:
            await attempts.release()
        await self._host.table.release([attempts.job for attempts in known])


async def dispatch_abandoned(host: QueueHost) -> int:
    """Enqueue the abandoned turns again, and return how many those were.

    If a turn has begun and no worker has taken it since the last call, it is sent again in pauses that double, up to
    `pending_lease`. Each process counts its own calls.

    Raises:
        ConfigurationError: The host cannot be started here.
    """
    await host.ready()
    found = await left_behind(host, reserve_for=host.pending_lease)
    jobs = host.resends.due(found, host.pending_lease)
    for job in jobs:
        host.dispatch(job)
    if later := set(found).difference(jobs):
        # Those that have not begun were reserved, and no job for them is on its way.
        await host.table.release(later)
    await host.count()
    return len(jobs)


class InlineDispatcher:
    """Runs a turn in the thread that enqueued it, before `enqueue` (or the commit) returns: for tests."""

    pending_lease: float = PENDING_LEASE

    def __init__(self, host: JobHost) -> None:
        self._host = host

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`."""
        run_job(self._host, job, patience=0)
