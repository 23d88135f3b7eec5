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

__all__ = ["InlineDispatcher", "arun_job", "dispatch_abandoned", "run_job"]


def run_job(host: JobHost, job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """Run a turn to its end, here and now. It may be called again, or at once in several places.

    What comes before it in its record, and nobody runs, is run first. It does not wait for a person, nor for another
    turn of its record: what waits is parked, and comes as a job of its own when it may go on. A turn that another
    process runs is left to that one: if that process dies, recovery finds the turn. What keeps it from running is not
    raised: the message's row says how it ended. A host that is not started in this process is started.

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
    return run_sync(_run(host, job, patience, blocking_sleep))


async def arun_job(host: JobHost, job: TurnJob, *, patience: float | None = None) -> TurnResult | None:
    """The same for asyncio."""
    return await _run(host, job, patience, asyncio.sleep)


async def _run(
    host: JobHost, job: TurnJob, patience: float | None, sleep: Callable[[float], Awaitable[None]]
) -> TurnResult | None:
    await host.ready()
    known: list[TurnAttempts] = []
    first: TurnJob | None = job
    while True:
        if first is not None:
            known.append(TurnAttempts(host, first, when_busy="reject", patience=patience))
        pause = await known[-1].attempt()
        first = known[-1].first
        if pause is not None:
            await sleep(pause)
        elif len(known) == 1:
            return known[0].result
        else:
            known.pop()


async def dispatch_abandoned(host: QueueHost) -> int:
    """Hand the turns that nobody runs any more to the host's queue again; how many those were.

    Raises:
        ConfigurationError: The host cannot be started here.
    """
    await host.ready()
    jobs = await left_behind(host, reserve_for=host.pending_lease)
    for job in jobs:
        host.dispatch(job)
    return len(jobs)


class InlineDispatcher:
    """Runs a turn in the thread that enqueued it, before `enqueue` (or the commit) returns: for tests."""

    pending_lease: float = PENDING_LEASE

    def __init__(self, host: JobHost) -> None:
        self._host = host

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`."""
        run_job(self._host, job, patience=0)
