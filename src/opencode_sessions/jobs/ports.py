"""The ports between a host and the code that runs its jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from opencode_sessions.files.ports import ArtifactStore
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
    """A turn with all that the host's settings say.

    Attributes:
        turn: Blocking or suspending.
        when_busy: What it does while another turn of its record runs.
        deadlines: Its deadlines.
        announce: Tells the host's listeners how the turn ended, unless the turn has told them.
        steering: Inside, the turn hears at once when somebody else writes its row.
    """

    turn: Turn | AsyncTurn
    when_busy: WhenBusy
    deadlines: Deadlines
    announce: Callable[[TurnResult], object]
    steering: AbstractContextManager[None] = field(default_factory=nullcontext)


class JobHost(Protocol):
    """Makes turns of jobs."""

    @property
    def table(self) -> TurnTable:
        """The table of the messages."""

    @property
    def artifacts(self) -> ArtifactStore | None:
        """Where the files of turns are kept that are due; None if this host keeps none."""

    async def ready(self) -> None:
        """Start in this process, unless it has started: a queue's worker runs nothing before its first job.

        Raises:
            ConfigurationError: It cannot start here.
        """

    async def prepare(self, message: Any, *, store: MessageStore, when_busy: WhenBusy) -> PreparedTurn:
        """The turn of a message.

        Args:
            message: As it was found.
            store: Through which the turn writes.
            when_busy: What holds if the host's settings do not say it.

        Raises:
            OpencodeError: It cannot be made.
        """

    async def count(self) -> None:
        """Tell the host's telemetry, if it has one, how many turns have not ended; called now and then."""

    def announce(self, message: Any, turn: TurnFound, result: TurnResult) -> None:
        """Tell the host's listeners how a turn ended that was not run."""

    def report(self, error: Exception, action: str, key: str) -> None:
        """Hand an error that nobody is there to catch to the host's `on_error`, or to the log."""


class Dispatcher(Protocol):
    """Has jobs run, in this process or elsewhere."""

    @property
    def pending_lease(self) -> float:
        """For how many seconds after `dispatch` a turn that has not begun is believed to be run.

        Then it counts as abandoned. It may be run from elsewhere after that, and would still be run once.
        """

    def dispatch(self, job: TurnJob) -> None:
        """See to it that `run_job` is called for this job, soon and somewhere. Called after the commit."""


@runtime_checkable
class QueueDispatcher(Dispatcher, Protocol):
    """A dispatcher that sends jobs over a network."""

    async def adispatch(self, job: TurnJob) -> None:
        """The same as `dispatch`, which an event loop must not wait for."""


@runtime_checkable
class TransactionalDispatcher(QueueDispatcher, Protocol):
    """A dispatcher whose queue can be in the host's own database."""

    @property
    def transactional(self) -> bool:
        """Whether it is: then `enqueue` calls `insert`, and no `dispatch` after the commit."""

    def insert(self, job: TurnJob, connection: Any) -> None:
        """Send a job in the caller's open transaction. A rollback takes it back; what this raises is the caller's.

        Args:
            job: The turn.
            connection: SQLAlchemy's `Connection`; that of an async engine if the caller's is one.
        """


class QueueHost(JobHost, Dispatcher, Protocol):
    """A host whose turns a queue runs: its `dispatch` reports an error and leaves the turn to recovery."""
