"""The ports between a host and the code that runs its jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from opencode_sessions.files.ports import ArtifactStore
from opencode_sessions.jobs.resends import Resends
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.turn_table import TurnJob, TurnTable
from opencode_sessions.turns.claim import WhenBusy
from opencode_sessions.turns.deadlines import Deadlines
from opencode_sessions.turns.events import TurnFound
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.turns.turn import AsyncTurn, Turn

__all__ = ["Dispatcher", "JobHost", "PreparedTurn", "QueueDispatcher", "QueueHost", "TransactionalDispatcher"]


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """A turn with all options from the host's settings.

    Attributes:
        turn: A `Turn` or an `AsyncTurn`.
        when_busy: The action while another turn of its record runs.
        deadlines: The turn's deadlines.
        announce: Sends the end of the turn to the host's listeners, if the turn itself has not sent it.
        steering: Inside this context, the turn learns at once when another process writes its row.
    """

    turn: Turn | AsyncTurn
    when_busy: WhenBusy
    deadlines: Deadlines
    announce: Callable[[TurnResult], object]
    steering: AbstractContextManager[None] = field(default_factory=nullcontext)


class JobHost(Protocol):
    """Makes the turns of jobs."""

    @property
    def table(self) -> TurnTable:
        """The table of the messages."""

    @property
    def artifacts(self) -> ArtifactStore | None:
        """The store of the turns' files; None if this host collects none."""

    async def ready(self) -> None:
        """Start in this process, unless it has started. A worker of a queue runs no code of the host before this.

        Raises:
            ConfigurationError: The host cannot start here.
        """

    async def prepare(self, message: Any, *, store: MessageStore, when_busy: WhenBusy) -> PreparedTurn:
        """The turn of a message.

        Args:
            message: The message, as `TurnTable.find` returned it.
            store: The store for the turn's writes.
            when_busy: The value, unless the host's settings name one.

        Raises:
            OpencodeError: The turn cannot be made.
        """

    async def count(self) -> None:
        """Give the number of turns that have not ended to the host's telemetry, if there is one. Called regularly."""

    def announce(self, message: Any, turn: TurnFound, result: TurnResult) -> None:
        """Send the end of a turn that did not run to the host's listeners."""

    async def hand_on(self, message: Any) -> None:
        """Run the turns that wait for a turn that failed before it began, or for a place that it was given."""

    def report(self, error: Exception, action: str, key: str) -> None:
        """Give an error that no caller can catch to the host's `on_error`, or to the log."""


class Dispatcher(Protocol):
    """Makes jobs run, in this process or in another one."""

    @property
    def pending_lease(self) -> float:
        """How long a queued job may wait before recovery treats its turn as abandoned, in seconds.

        If the job comes after that, the turn still runs only once.
        """

    def dispatch(self, job: TurnJob) -> None:
        """Make sure that a process calls `run_job` for this job soon. Called after the commit."""


@runtime_checkable
class QueueDispatcher(Dispatcher, Protocol):
    """A dispatcher that sends jobs over a network."""

    async def adispatch(self, job: TurnJob) -> None:
        """`dispatch` for asyncio, without blocking the event loop."""


@runtime_checkable
class TransactionalDispatcher(QueueDispatcher, Protocol):
    """A dispatcher whose queue can be in the host's own database."""

    @property
    def transactional(self) -> bool:
        """Whether the queue is in the host's database. `enqueue` then calls `insert` instead of `dispatch`."""

    def insert(self, job: TurnJob, connection: Any) -> None:
        """Insert a job in the caller's open transaction. A rollback removes it. Errors are raised to the caller.

        Args:
            job: The job.
            connection: SQLAlchemy's `Connection`, of an async engine if the caller's is one.
        """


class QueueHost(JobHost, Dispatcher, Protocol):
    """A host whose turns a queue runs. Its `dispatch` reports an error, and recovery finds the turn."""

    @property
    def resends(self) -> Resends:
        """The jobs that recovery has sent. `dispatch` makes it forget a job that could not be sent."""
