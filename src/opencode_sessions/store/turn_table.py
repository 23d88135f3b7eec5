"""The ports of a table of messages: for the processes that run its turns, and for those that show them.

Workers and watchers know a row only by its name: a job, or a key. Names consist of strings, so that any queue can carry
them, and they mean the same in every process.

The rules of stores apply: each call is one short transaction, which blocks or suspends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.store.messages import MessageStore

__all__ = [
    "MOST_ASKED",
    "Ahead",
    "Head",
    "MayBegin",
    "Place",
    "RowKey",
    "ServerCount",
    "TurnCounts",
    "TurnJob",
    "TurnRow",
    "TurnRows",
    "TurnTable",
    "Usage",
    "always",
]

MayBegin = Callable[[Any], Awaitable[bool]]

MOST_ASKED = 20
"""So many waiting turns are asked whether they may begin, for one place."""


async def always(_message: Any) -> bool:
    """Nothing keeps a turn from beginning."""
    return True


@dataclass(frozen=True, slots=True)
class TurnJob:
    """The turn of one message, in the form in which processes hand it to each other.

    Attributes:
        table: The table of messages: ``"chat.Message"`` with Django, ``"messages"`` with SQLAlchemy.
        pk: The message's primary key, as text.
        database: The name of the database, if a host has several.
        record: The record's key. The turns of one record run in order, one at a time.
        tenant: The tenant; empty without tenants.
        uid: The value that tells its row from other rows with the same key.
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
        """The job for a queue: the fields by their names, without optional fields that are empty.

        So a worker of an older release can read the job, unless it needs a field that the release does not know.
        """
        values = asdict(self)
        return {each.name: values[each.name] for each in fields(self) if values[each.name] != each.default}

    @classmethod
    def from_fields(cls, given: Mapping[str, str]) -> TurnJob:
        """The job that a queue delivered.

        Raises:
            ConfigurationError: A newer release enqueued the job with a field that this one does not know, or these are
                not the fields of a job.
        """
        known = [field.name for field in fields(cls)]
        unknown = ", ".join(name for name in given if name not in known)
        if unknown:
            raise ConfigurationError(
                f"the job {dict(given)} has fields that this release does not know: {unknown}. A newer release has "
                "enqueued it: update this worker. Its turn is not lost: recovery runs it once its reservation expires"
            )
        try:
            return cls(**given)
        except TypeError as error:
            raise ConfigurationError(f"{dict(given)} is not the job of a turn: {error}") from error


class Ahead(NamedTuple):
    """The turn that must run before another one.

    Attributes:
        job: The other turn of its record.
        runs: Whether that turn runs now, or is parked: for a person, or for a place under a limit.
    """

    job: TurnJob
    runs: bool


class TurnCounts(NamedTuple):
    """How many turns have not ended. A draft, which was never enqueued, does not count.

    Attributes:
        queued: Turns that have not begun and are reserved.
        running: Turns that a runner runs.
        asking: Turns that have begun and wait for a person, with or without a runner.
        abandoned: Turns that no process runs or has reserved. Recovery finds them.
    """

    queued: int = 0
    running: int = 0
    asking: int = 0
    abandoned: int = 0

    def plus(self, other: Iterable[int | None]) -> TurnCounts:
        """The sum with the counts of another table."""
        return TurnCounts(*(own + (more or 0) for own, more in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class ServerCount:
    """How a server does.

    Attributes:
        name: Its name; `default` without one.
        running: How many turns run on it, by the rows.
        places: How many more may run at once; None without a limit.
        load: The turns that run, for its weight: a new record goes where this is least.
        healthy: Whether it says that it is well.
    """

    name: str
    running: int
    places: int | None
    load: float
    healthy: bool


class Usage(NamedTuple):
    """The use of some turns.

    Attributes:
        running: How many of them run now. Parked turns do not count.
        cost: In US dollars, including turns that run.
        tokens: Input and output tokens.
    """

    running: int
    cost: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place under a limit on turns at a time: which turns may take it.

    Attributes:
        of: A condition on messages, as `TurnTable.usage` takes it; None: `server` says it.
        server: Those of records on the server of this name.
        unnamed: Whether rows that name no server are on that one, too.
    """

    of: Any = None
    server: str | None = None
    unnamed: bool = False


class TurnTable(Protocol):
    """The tables of messages, for the processes that run turns."""

    def job_of(self, message: Any) -> TurnJob:
        """The job of a message's turn. The call may load the message's record.

        Raises:
            RecordNotSavedError: The message has no row yet.
            ConfigurationError: Its model has no turn columns, is not of these tables, or has no record.
        """

    def inside(self, tenant: str) -> AbstractContextManager[None]:
        """Select the rows of this tenant in this thread, for the length of a `with` block."""

    async def find(self, job: TurnJob) -> Any | None:
        """The message, fresh from its row; None if there is no such row.

        Raises:
            WrongRowError: The row is not the one from which the job was made.
        """

    def store(self, job: TurnJob, message: Any) -> MessageStore:
        """The store of a message that was found."""

    async def reserve(self, message: Any, seconds: float) -> None:
        """Reserve the turn in the caller's own transaction: it has a place among its record's turns, and will run.

        A turn that has a place keeps it; a new one comes last. Two transactions that are open at once may write the
        same place. Nothing happens to a turn that has begun.

        Args:
            message: New in that transaction, or an older one that is pending.
            seconds: How long the reservation holds. After that the turn counts as abandoned.
        """

    def after_commit(self, message: Any, action: Callable[[], None]) -> None:
        """Call `action` when the caller's transaction around `message` has committed; at once if none is open.

        It is not called if the transaction is rolled back.
        """

    async def renew(self, jobs: Collection[TurnJob], seconds: float) -> None:
        """Extend the reservations of these jobs to `seconds` from now, unless they began or were released or parked.

        One query for each table.
        """

    async def release(self, jobs: Collection[TurnJob]) -> None:
        """End the reservations of turns that do not run, so that any process may run them from now on."""

    async def abandoned(self, *, reserve_for: float) -> Sequence[TurnJob]:
        """The abandoned turns, oldest first, with those that are parked although nothing blocks them any more.

        Turns that have not begun are reserved for `reserve_for` seconds first, so that only one of several processes
        gets them. A turn that has begun is returned to all processes; the first one that runs it takes it.
        """

    async def counts(self) -> TurnCounts:
        """How many turns have not ended, by their state. One query for each table, database and tenant."""

    async def ahead_of(self, job: TurnJob, message: Any) -> Ahead | None:
        """The turn that must run before this one; None if there is none, or the message's record is not a column.

        It is a turn of the record that has begun; else the first of those that were reserved earlier, which any process
        may run. If two have the same place, the lesser key comes first. One query.

        Args:
            job: The turn, which has not begun.
            message: The message, as `find` returned it.
        """

    async def put_behind(self, job: TurnJob, message: Any, seconds: float) -> bool:
        """Park a turn behind another one of its record: pending, without a lease or a runner.

        Args:
            job: The turn.
            message: The message, as `find` returned it.
            seconds: How long the turn is reserved, if it is not parked.

        Returns:
            False if the caller must try again: no other turn blocks it, it was never reserved, or its record is not a
            column, so that the end of another turn could not find it.
        """

    async def wait_for_place(self, job: TurnJob, seconds: float) -> bool:
        """Let a turn that may not begin yet, by a limit, wait for a place without a runner: pending, and parked.

        Args:
            job: The turn.
            seconds: After which recovery takes it up, if no place was free before.

        Returns:
            False if it waits from now on, also after an earlier wait whose time is over. Then look once more, because a
            place may have become free in between. True if it waits already, or has begun or ended.
        """

    async def resume_waiting(
        self, message: Any, place: Place, seconds: float, may_begin: MayBegin
    ) -> TurnJob | None:
        """Reserve, of the turns that wait for such a place, the first that may begin, in the order of their enqueuing.

        Args:
            message: One of the table's, whose turn had the place.
            place: The place.
            seconds: How long the turn is reserved.
            may_begin: Says of a waiting turn's message whether another limit keeps it from beginning.

        Returns:
            None if none of the first twenty may begin.
        """

    async def resume(self, message: Any, seconds: float) -> TurnJob | None:
        """Reserve a turn that is parked for a person; None if it is not parked, or another process was faster."""

    async def resume_next(self, message: Any, seconds: float) -> TurnJob | None:
        """Reserve the record's next turn that is parked behind another one, if none of the record's turns runs."""

    async def running(self) -> Mapping[str | None, int]:
        """How many turns run now on each server, by the server names in the records' rows.

        One query. Parked turns do not count, nor turns whose record is not a column.
        """

    async def usage(self, message: Any, of: Any, since: datetime | None) -> Usage:
        """The use of the messages in a message's table that meet the host's condition. One query.

        Args:
            message: A message of the table.
            of: The condition, in the form of the table's ORM; in memory a function of a message.
            since: Cost and tokens count only for turns that began then or later; None: for all.
        """

    def is_transient(self, error: Exception) -> bool:
        """Is it an error of the database after which another attempt may succeed?"""

    def give_back(self) -> None:
        """Give back this thread's database connections until they are needed again."""


@dataclass(frozen=True, slots=True)
class RowKey:
    """The row of a message that is watched.

    Attributes:
        table: The table's name; models that share a table have the same name.
        pk: The primary key, as text.
        database: See `TurnJob`.
        tenant: See `TurnJob`.
    """

    table: str
    pk: str
    database: str
    tenant: str = ""

    def __str__(self) -> str:
        return f"{self.table} {self.pk}" + (f" of tenant {self.tenant}" if self.tenant else "")


class Head(NamedTuple):
    """The status and revision of a turn. One of them changes whenever the row changes."""

    status: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """The columns of a message that watchers see."""

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
        """The names of the columns."""
        return [field.name for field in fields(cls)]

    @classmethod
    def of(cls, message: Any) -> TurnRow:
        """The columns of a model instance."""
        return cls(**{name: getattr(message, name) for name in cls.columns()})


class TurnRows(Protocol):
    """The tables of messages, for the processes that show turns."""

    def key_of(self, message: Any) -> RowKey:
        """The key of a message's row.

        Raises:
            RecordNotSavedError: The message has no row yet.
        """

    def inside(self, tenant: str) -> AbstractContextManager[None]:
        """See `TurnTable.inside`."""

    async def heads(self, keys: Collection[RowKey]) -> Mapping[RowKey, Head]:
        """The head of each row, in one query for each table and tenant. Deleted rows are missing."""

    async def row(self, key: RowKey) -> TurnRow | None:
        """The row as committed now; None if it was deleted."""

    def is_transient(self, error: Exception) -> bool:
        """See `TurnTable.is_transient`."""

    def give_back(self) -> None:
        """See `TurnTable.give_back`."""
