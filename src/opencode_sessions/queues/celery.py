"""Turns as tasks of Celery. It needs ``pip install 'opencode-sessions[celery]'``.

::

    app = Celery("shop", broker="redis://…")
    turns = CeleryDispatcher(app, lambda: opencode)
    opencode = Host(settings, tables=[…], dispatcher=turns)
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from opencode_sessions.queues.send_threads import SendThreads
from opencode_sessions.queues.worker import PENDING_LEASE, RECOVER, RECOVER_EVERY, RUN, HostOf, Worker, needs
from opencode_sessions.store.turn_table import TurnJob

with needs("celery"):
    from celery import Celery
    from celery.signals import worker_shutting_down

__all__ = ["CeleryDispatcher"]

_RETRY_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class CeleryDispatcher:
    """A `Dispatcher` that sends turns to Celery. Make it in a module that the worker imports, as with other tasks.

    A job is acknowledged when it begins, whatever `task_acks_late` says. With late acknowledgement, Redis repeats a job
    after its visibility timeout, and RabbitMQ closes the worker's channel after its consumer timeout.

    Args:
        app: The app; its beat looks for turns that nobody runs any more.
        host: The host of the worker's process, one that blocks, or a function that returns it.
        pending_lease: See `Dispatcher.pending_lease`.
        recover_every: Seconds between two of beat's looks; None: it does not look.
        options: More options of the task that runs a turn, such as `queue` or `priority`.
    """

    def __init__(
        self,
        app: Celery,
        host: HostOf,
        *,
        pending_lease: float = PENDING_LEASE,
        recover_every: float | None = RECOVER_EVERY,
        **options: Any,
    ) -> None:
        self.pending_lease = pending_lease
        self._threads = SendThreads(self.dispatch)
        worker = Worker(host)
        task = partial(app.task, ignore_result=True, acks_late=False, **options)

        # In a signal handler of the main process. Child processes end with SIGTERM, and release their turns.
        def stop(**_: object) -> None:
            threading.Thread(target=worker.stop, name="opencode-sessions stop").start()

        worker_shutting_down.connect(stop, weak=False)

        def run_turn(**fields: str) -> None:
            worker.run(fields)

        def recover() -> None:
            worker.recover()

        self._run_turn = task(name=RUN)(run_turn)
        look = task(name=RECOVER)(recover)
        if recover_every is not None:
            # It expires: if no worker is free, one look waits for it, and not one for each interval.
            app.add_periodic_task(recover_every, look.s(), name=RECOVER, expires=recover_every)

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`. If the broker is away, it raises after one more try."""
        self._run_turn.apply_async(kwargs=job.to_fields(), retry_policy=_RETRY_ONCE)

    async def adispatch(self, job: TurnJob) -> None:
        """The same for asyncio, in a thread of the dispatcher."""
        await self._threads.send(job)
