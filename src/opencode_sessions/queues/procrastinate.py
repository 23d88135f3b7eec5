"""Turns as jobs of Procrastinate, in PostgreSQL. It needs ``pip install 'opencode-sessions[procrastinate]'``.

::

    turns = ProcrastinateDispatcher(app, lambda: opencode)
    opencode = AsyncHost(settings, tables=[…], dispatcher=turns)
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.queues.worker import PENDING_LEASE, RECOVER, RECOVER_EVERY, RUN, HostOf, Worker, needs
from opencode_sessions.store.turn_table import TurnJob

with needs("procrastinate"):
    from procrastinate import App
    from procrastinate.jobs import JobDeferrer, Status

__all__ = ["ProcrastinateDispatcher"]


class ProcrastinateDispatcher:
    """A `Dispatcher` that sends turns to Procrastinate. Make it in a module that the app imports.

    The record is the job's lock: a turn behind another one of its record takes no worker's slot, not even for a moment.

    Args:
        app: The app. Its workers look for turns that nobody runs any more, and for jobs whose worker died: such a job
            would keep its lock.
        host: The host of the worker's process, or a function that returns it.
        pending_lease: See `Dispatcher.pending_lease`.
        recover_every: Seconds between two of the workers' looks, 59 at most.
        queue: The queue of the jobs.
        transactional: Whether Procrastinate's tables are in the database of the messages, reached by psycopg: then a
            `Host` or `AsyncHost` stores a job in the transaction that enqueues it.
    """

    def __init__(
        self,
        app: App,
        host: HostOf,
        *,
        pending_lease: float = PENDING_LEASE,
        recover_every: int = RECOVER_EVERY,
        queue: str = "default",
        transactional: bool = False,
    ) -> None:
        self.pending_lease = pending_lease
        self.transactional = transactional
        worker = Worker(host)

        @app.task(name=RUN, queue=queue)
        async def run_turn(**fields: str) -> None:
            await worker.arun(fields)

        @app.periodic(cron=f"* * * * * */{recover_every}")
        @app.task(name=RECOVER, queue=queue, queueing_lock=RECOVER)
        async def recover(timestamp: int) -> None:  # noqa: ARG001 - Procrastinate gives it
            for job in await app.job_manager.get_stalled_jobs(task_name=RUN):
                await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)
            await worker.arecover()

        self._run_turn = run_turn

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`."""
        self._deferrer(job).defer(**job.to_fields())

    async def adispatch(self, job: TurnJob) -> None:
        """The same for asyncio."""
        await self._deferrer(job).defer_async(**job.to_fields())

    def insert(self, job: TurnJob, connection: Any) -> None:
        """See `TransactionalDispatcher.insert`."""
        driver = connection.connection.driver_connection
        deferrer = self._deferrer(job, connection=driver)
        if connection.dialect.is_async:
            from sqlalchemy.util import await_only  # noqa: PLC0415 - of whoever has such a connection

            await_only(deferrer.defer_async(**job.to_fields()))
        else:
            deferrer.defer(**job.to_fields())

    def _deferrer(self, job: TurnJob, connection: Any = None) -> JobDeferrer:
        lock = f"{job.database} {job.tenant} {job.record}"
        return self._run_turn.configure(lock=lock, connection=connection)
