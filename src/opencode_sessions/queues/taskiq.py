"""Turns as tasks of Taskiq. It needs ``pip install 'opencode-sessions[taskiq]'``.

::

    turns = TaskiqDispatcher(broker, lambda: opencode)
    opencode = AsyncHost(settings, tables=[…], dispatcher=turns)
"""

from __future__ import annotations

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.queues.worker import PENDING_LEASE, RECOVER, RECOVER_EVERY, RUN, HostOf, Worker, needs
from opencode_sessions.store.turn_table import TurnJob

with needs("taskiq"):
    from taskiq import AsyncBroker, TaskiqEvents, TaskiqState
    from taskiq.acks import AcknowledgeType

__all__ = ["TaskiqDispatcher"]


class TaskiqDispatcher:
    """A `Dispatcher` that sends turns to Taskiq. Make it in a module that the worker imports.

    A job is acknowledged when it is received, if the broker knows acknowledgements. Otherwise a turn that lasts longer
    than the broker's idle timeout would be delivered again.

    Args:
        broker: The broker. Its scheduler, with a `LabelScheduleSource`, looks for turns that nobody runs any more.
        host: The host of the worker's process, or a function that returns it.
        pending_lease: See `Dispatcher.pending_lease`.
        recover_every: Seconds between two of the scheduler's looks; None: it does not look.
        labels: More labels of the task that runs a turn.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        host: HostOf,
        *,
        pending_lease: float = PENDING_LEASE,
        recover_every: int | None = RECOVER_EVERY,
        **labels: object,
    ) -> None:
        self.pending_lease = pending_lease
        worker = Worker(host)
        early = {"ack_type": AcknowledgeType.WHEN_RECEIVED.value, **labels}

        async def run_turn(**fields: str) -> None:
            await worker.arun(fields)

        async def recover() -> None:
            await worker.arecover()

        async def stop(_: TaskiqState) -> None:
            await worker.astop()

        schedule = [] if recover_every is None else [{"interval": recover_every}]
        self._run_turn = broker.register_task(run_turn, task_name=RUN, **early)
        broker.register_task(recover, task_name=RECOVER, schedule=schedule, **early)
        broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, stop)

    def dispatch(self, job: TurnJob) -> None:
        """Taskiq sends from an event loop only.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"the turn of {job} cannot be sent: Taskiq needs an event loop. Give this dispatcher to an AsyncHost"
        )

    async def adispatch(self, job: TurnJob) -> None:
        """See `QueueDispatcher.adispatch`."""
        await self._run_turn.kiq(**job.to_fields())
