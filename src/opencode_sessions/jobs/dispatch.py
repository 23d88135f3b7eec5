"""Having a job run: at once in the caller's own thread or task, for a queue's worker and for tests."""

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
    """Run a turn to its end, here and now. It may be called again, or at once in several places.

    An earlier turn of its record that nobody runs is run first. It does not wait for a person, nor for another
    turn of its record: what waits is parked, and comes as a job of its own when it may go on. A turn that another
    process runs is left to that one: if that process dies, recovery finds the turn. An error that keeps it from
    running is not raised: the message's row says how it ended. A host that is not started in this process is started.

    Args:
        host: Whose job.
        job: Which.
        patience: For how many seconds a server that is away is waited for; by default as the turn's
            `Deadlines.unreachable` says.

    Returns:
        How it ended; None if somebody else runs it, it is parked, or its row is gone.

    Raises:
        ConfigurationError: The host cannot be started here. The row is as it was.
    """
    return run_sync(JobRun(host, job, patience).run(blocking_sleep))


async def arun_job(host: JobHost, job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """The same for asyncio."""
    return await JobRun(host, job, patience).run(asyncio.sleep)


class JobRun:
    """A job that is run here and now, with what comes before it; see `run_job`."""

    def __init__(self, host: JobHost, job: TurnJob, patience: float | None = None) -> None:
        self._host = host
        self._patience = patience
        self._known = [self._attempts(job)]
        self._released = False

    def _attempts(self, job: TurnJob) -> TurnAttempts:
        return TurnAttempts(self._host, job, when_busy="reject", patience=self._patience)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> TurnResult | None:
        """Run it to its end, or until it is released."""
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
        """This process ends: leave its turns to the next runner. Called from another thread or task."""
        self._released = True
        known = list(self._known)
        for attempts in known:
            await attempts.release()
        await self._host.table.release([attempts.job for attempts in known])


async def dispatch_abandoned(host: QueueHost) -> int:
    """Hand the turns that nobody runs any more to the host's queue again; how many those were.

    Raises:
        ConfigurationError: The host cannot be started here.
    """
    await host.ready()
    jobs = await left_behind(host, reserve_for=host.pending_lease)
    for job in jobs:
        host.dispatch(job)
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
