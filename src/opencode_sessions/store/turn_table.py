"""The ports of a table of messages: which of its turns are to be run, and what watchers are shown of them.

A worker and a watcher know their rows by name only: a job, or a key. All strings, so they are safe for any queue, and
mean the same in every process.

The same rules as for stores: one short transaction a call, which blocks or suspends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.store.messages import MessageStore

__all__ = ["Ahead", "Head", "RowKey", "TurnCounts", "TurnJob", "TurnRow", "TurnRows", "TurnTable", "Usage"]


@dataclass(frozen=True, slots=True)
class TurnJob:
    """The turn of one message, as it is handed from process to process.

    Attributes:
        table: Which table of messages: ``"chat.Message"`` with Django, ``"messages"`` with SQLAlchemy.
        pk: The message's primary key, as text.
        database: Which database, if a host has several.
        record: What names its record: the turns of one record are run in order, one at a time.
        tenant: In whose context it is run; empty where there are no tenants.
        uid: What tells its row from others of the same key.
    """

    table: str
    pk: str
    database: str
    record: str
    tenant: str = ""
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.table} {self.pk}" + (f" of tenant {self.tenant}" if self.tenant else "")

    def to_fields(self) -> dict[str, str]:
        """The job for a queue: the fields by their names. One that a job need not have is left out if it is empty.

        So a worker of an older release can read the job, unless it says what that release does not know.
        """
        values = asdict(self)
        return {each.name: values[each.name] for each in fields(self) if values[each.name] != each.default}

    @classmethod
    def from_fields(cls, given: Mapping[str, str]) -> TurnJob:
        """The job that a queue delivered.

        Raises:
            ConfigurationError: A newer release has enqueued it, with a field that this one does not know; or it is no
                job.
        """
        known = [field.name for field in fields(cls)]
        unknown = ", ".join(name for name in given if name not in known)
        if unknown:
            raise ConfigurationError(
                f"the job {dict(given)} has fields that this release does not know: {unknown}. A newer release has "
                "enqueued it: update this worker. Its turn is not lost: it is run when its reservation has run out"
            )
        try:
            return cls(**given)
        except TypeError as error:
            raise ConfigurationError(f"{dict(given)} is no job of a turn: {error}") from error


class Ahead(NamedTuple):
    """The turn that must run before another one.

    Attributes:
        job: The other turn of its record.
        runs: Whether somebody runs that one now, or it is parked until a person answers.
    """

    job: TurnJob
    runs: bool


class TurnCounts(NamedTuple):
    """How many turns have not ended; a draft, which was never enqueued, is no turn.

    Attributes:
        queued: They have not begun, and are going to be run.
        running: Somebody runs them.
        asking: They have begun, and wait for a person, with or without a runner.
        abandoned: Nobody runs them any more, or is going to: recovery takes them up.
    """

    queued: int = 0
    running: int = 0
    asking: int = 0
    abandoned: int = 0

    def plus(self, other: Iterable[int | None]) -> TurnCounts:
        """These, and as many of another table."""
        return TurnCounts(*(own + (more or 0) for own, more in zip(self, other, strict=True)))


class Usage(NamedTuple):
    """What turns use.

    Attributes:
        running: How many of them are run now; one that is parked is not.
        cost: In US dollars, of those that run, too.
        tokens: In and out.
    """

    running: int
    cost: float
    tokens: int


class TurnTable(Protocol):
    """Tables of messages, as those who run turns need them."""

    def job_of(self, message: Any) -> TurnJob:
        """The job of a message's turn. It may load the record that the message belongs to, if that is not loaded.

        Raises:
            RecordNotSavedError: It has no row yet.
            ConfigurationError: Its model has no turn columns or is not one of these tables', or it has no record.
        """

    def inside(self, tenant: str) -> AbstractContextManager[None]:
        """Inside, the rows of this tenant are in force in this thread."""

    async def find(self, job: TurnJob) -> Any | None:
        """The message, fresh from its row; None if there is no such row.

        Raises:
            WrongRowError: It is another row than the one that the job was made of.
        """

    def store(self, job: TurnJob, message: Any) -> MessageStore:
        """The store of a message that was found."""

    async def reserve(self, message: Any, seconds: float) -> None:
        """Write into the row, as part of the caller's own transaction, that its turn is going to be run, and its place.

        A turn that has a place among those of its record keeps it; another one comes last. Of two transactions that
        are open at once, both may give the same place. Nothing happens to a turn that has begun.

        Args:
            message: New in that transaction, or an older one that is pending.
            seconds: For how long that is to be believed; after that the turn counts as abandoned.
        """

    def after_commit(self, message: Any, action: Callable[[], None]) -> None:
        """Call `action` when the caller's transaction around `message` has committed; at once if none is open.

        It is not called if that is rolled back.
        """

    async def renew(self, jobs: Collection[TurnJob], seconds: float) -> None:
        """Reserve for so many seconds more, from now, those that have not begun and were neither released nor parked.

        One query for many.
        """

    async def release(self, jobs: Collection[TurnJob]) -> None:
        """Of turns that were reserved and that nobody runs: whoever finds them may run them from now on."""

    async def abandoned(self, *, reserve_for: float) -> Sequence[TurnJob]:
        """The turns that nobody runs any more, oldest first, and those that are parked and wait for nothing.

        Those that have not begun are reserved for so many seconds first, for one of several processes that look at
        once. One that had begun is given to all: who takes it from the others is decided when it is run.
        """

    async def counts(self) -> TurnCounts:
        """How many turns have not ended, by their state. One query for each table, database and tenant."""

    async def ahead_of(self, job: TurnJob, message: Any) -> Ahead | None:
        """The turn to run before this one, which has not begun; None if there is none, or its record is no column.

        That is one of the record's turns that has begun; else the first of those that were reserved before it,
        whoever did that: any process may run it. Of the same place, the lesser key comes first. One query.

        Args:
            job: The turn that has not begun.
            message: As it was found.
        """

    async def put_behind(self, job: TurnJob, message: Any, seconds: float) -> bool:
        """Let a turn that cannot begin wait for another one of its record, without a runner: pending, without a lease.

        Args:
            job: The turn.
            message: As it was found.
            seconds: For how long the turn is reserved, if it is not parked.

        Returns:
            False if it is to be tried again here: nothing is in its way that will have it run; it was never reserved;
            or its record is not a column, so that nobody would find it.
        """

    async def resume(self, message: Any, seconds: float) -> TurnJob | None:
        """Reserve the turn of a message that waits for a person, parked; None if it does not, or somebody else did."""

    async def resume_next(self, message: Any, seconds: float) -> TurnJob | None:
        """Reserve the next turn that is parked behind another of the same record, if none of them runs."""

    async def running(self) -> Mapping[str | None, int]:
        """How many turns are run now in sessions of each server, by the name that the records' rows have.

        One query. A turn that is parked is not run. Turns whose record is not a column are not counted.
        """

    async def usage(self, message: Any, of: Any, since: datetime | None) -> Usage:
        """What those messages of a message's table have used for which the host's condition holds. One query.

        Args:
            message: One of the table's.
            of: The condition, as the table's ORM has it; in memory a function of a message.
            since: Cost and tokens count of turns that began then or later; None: of all.
        """

    def is_transient(self, error: Exception) -> bool:
        """Is it the database's, which may do better at the next try?"""

    def give_back(self) -> None:
        """This thread needs its database connections no more, for now."""


@dataclass(frozen=True, slots=True)
class RowKey:
    """The row of a message that is watched.

    Attributes:
        table: Its table; models that share one have the same.
        pk: Its primary key, as text.
        database: As of a job.
        tenant: As of a job.
    """

    table: str
    pk: str
    database: str
    tenant: str = ""

    def __str__(self) -> str:
        return f"{self.table} {self.pk}" + (f" of tenant {self.tenant}" if self.tenant else "")


class Head(NamedTuple):
    """How far a turn is: it changes whenever the row does."""

    status: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """The columns of a message that are shown."""

    status: str
    revision: int
    content: str
    parts: list[dict[str, Any]]
    asks: list[dict[str, Any]]
    error: dict[str, Any] | None
    cost: float
    input_tokens: int
    output_tokens: int
    opencode_prompt_id: str | None

    @classmethod
    def columns(cls) -> list[str]:
        """Their names."""
        return [field.name for field in fields(cls)]

    @classmethod
    def of(cls, message: Any) -> TurnRow:
        """Those of an instance that has them as attributes."""
        return cls(**{name: getattr(message, name) for name in cls.columns()})


class TurnRows(Protocol):
    """Tables of messages, as those who watch turns need them."""

    def key_of(self, message: Any) -> RowKey:
        """The key that names its row.

        Raises:
            RecordNotSavedError: It has no row yet.
        """

    def inside(self, tenant: str) -> AbstractContextManager[None]:
        """See `TurnTable.inside`."""

    async def heads(self, keys: Collection[RowKey]) -> Mapping[RowKey, Head]:
        """How far each is, in one query for each table and tenant; those that were deleted are missing."""

    async def row(self, key: RowKey) -> TurnRow | None:
        """The row as committed now; None if it was deleted."""

    def is_transient(self, error: Exception) -> bool:
        """See `TurnTable.is_transient`."""

    def give_back(self) -> None:
        """See `TurnTable.give_back`."""
