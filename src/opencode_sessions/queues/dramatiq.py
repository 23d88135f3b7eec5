"""Turns as messages of Dramatiq. It needs ``pip install 'opencode-sessions[dramatiq]'``.

::

    turns = DramatiqDispatcher(broker, lambda: opencode)
    opencode = Host(settings, tables=[…], dispatcher=turns)
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.queues.send_threads import SendThreads
from opencode_sessions.queues.worker import PENDING_LEASE, RUN, HostOf, Worker, needs
from opencode_sessions.store.turn_table import TurnJob

with needs("dramatiq"):
    import dramatiq

__all__ = ["DramatiqDispatcher"]

_OPTIONS = {"max_retries": 0, "time_limit": float("inf"), "max_age": None}
"""Dramatiq's defaults are twenty retries and ten minutes. A turn is repeated by its row, and ended by its deadlines."""


class _Stop(dramatiq.Middleware):
    """Stops the worker before Dramatiq waits for its turns."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        self._worker.stop()


class DramatiqDispatcher:
    """A `Dispatcher` that sends turns to Dramatiq. Make it in a module that the worker imports.

    Dramatiq has no periodic tasks: run `opencode-sessions recover --watch`, or `manage.py opencode_recover --watch`.

    Args:
        broker: The broker.
        host: The host of the worker's process, one that blocks, or a function that returns it.
        pending_lease: See `Dispatcher.pending_lease`.
        options: More options of the actor that runs a turn, such as `queue_name` or `priority`.
    """

    def __init__(
        self, broker: dramatiq.Broker, host: HostOf, *, pending_lease: float = PENDING_LEASE, **options: Any
    ) -> None:
        self.pending_lease = pending_lease
        self._threads = SendThreads(self.dispatch)
        worker = Worker(host)
        broker.add_middleware(_Stop(worker))
        # A broker knows the options of the middleware that it has.
        ours = {name: value for name, value in _OPTIONS.items() if name in broker.actor_options}

        def run_turn(**fields: str) -> None:
            worker.run(fields)

        self._run_turn = dramatiq.actor(broker=broker, actor_name=RUN, **{**ours, **options})(run_turn)

    def dispatch(self, job: TurnJob) -> None:
        """See `Dispatcher.dispatch`."""
        self._run_turn.send(**job.to_fields())

    async def adispatch(self, job: TurnJob) -> None:
        """The same for asyncio, in a thread of the dispatcher."""
        await self._threads.send(job)
