"""Turns as workflows of DBOS. It needs ``pip install 'opencode-sessions[dbos]'``.

::

    turns = DBOSDispatcher(client, lambda: opencode)
    opencode = Host(settings, tables=[…], dispatcher=turns)
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from opencode_sessions.queues.send_threads import SendThreads
from opencode_sessions.queues.worker import PENDING_LEASE, RECOVER, RECOVER_EVERY, RUN, HostOf, Worker, needs
from opencode_sessions.store.turn_table import TurnJob

with needs("dbos"):
    from dbos import DBOS, DBOSClient, EnqueueOptions

__all__ = ["DBOSDispatcher"]

_QUEUE = "opencode_sessions"


class DBOSDispatcher:
    """A `Dispatcher` that sends turns to DBOS. Make it before `DBOS.launch()`.

    Each job is a workflow with an id of its own. The turn's key is no such id: a turn that was parked needs another
    workflow, and DBOS runs one id once.

    Args:
        client: Sends the jobs. Its calls are no steps of a workflow, so a workflow that is repeated sends them again.
        host: The host of the worker's process, or a function that returns it.
        pending_lease: See `Dispatcher.pending_lease`.
        recover_every: Seconds between two looks for turns that nobody runs any more, 59 at most.
        queue: The name of the queue.
        transactional: Whether DBOS's tables are in the database of the messages: then a `Host` or `AsyncHost` stores a
            job in the transaction that enqueues it.
    """

    def __init__(
        self,
        client: DBOSClient,
        host: HostOf,
        *,
        pending_lease: float = PENDING_LEASE,
        recover_every: int = RECOVER_EVERY,
        queue: str = _QUEUE,
        transactional: bool = False,
    ) -> None:
        self.transactional = transactional
        self.pending_lease = pending_lease
        self._threads = SendThreads(self.dispatch)
        self._client = client
        self._recover_every = recover_every
        self._queue = queue
        self._options: EnqueueOptions = {"workflow_name": RUN, "queue_name": queue}
        worker = self._worker = Worker(host)

        @DBOS.workflow(name=RUN)
        async def run_turn(fields: dict[str, str]) -> None:
            await worker.arun(fields)

        @DBOS.workflow(name=RECOVER)
        async def recover(_scheduled: datetime, _context: object) -> None:
            await worker.arecover()

        self._recover = recover

    def work(self, turns: int) -> None:
        """In a worker, after `DBOS.launch()`: run so many turns at once, and look for those that nobody runs.

        Call it in the main thread: then SIGTERM releases the worker's turns.
        """
        self._worker.stop_at_signals()
        DBOS.register_queue(self._queue, worker_concurrency=turns)
        schedule = f"*/{self._recover_every} * * * * *"
        DBOS.apply_schedules(
            [{"schedule_name": RECOVER, "workflow_fn": self._recover, "schedule": schedule, "context": None}]
        )

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`."""
        self._client.enqueue(self._options, job.to_fields())

    def insert(self, job: TurnJob, connection: Any) -> None:
        """See `TransactionalDispatcher.insert`."""
        self._client.enqueue_in_transaction(connection, self._options, job.to_fields())

    async def adispatch(self, job: TurnJob) -> None:
        """The same for asyncio, in a thread of the dispatcher."""
        await self._threads.send(job)
