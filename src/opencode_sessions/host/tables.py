"""`HostTables`: all tables of a host as one."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Protocol, TypeVar

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.store.messages import MessageStore
from opencode_sessions.store.records import RecordStore
from opencode_sessions.store.turn_table import (
    Ahead,
    Head,
    MayBegin,
    Place,
    RowKey,
    TurnCounts,
    TurnJob,
    TurnRow,
    TurnRows,
    TurnTable,
    Usage,
)

__all__ = ["HostTable", "HostTables"]

_log = logging.getLogger("opencode_sessions.host")

K = TypeVar("K", TurnJob, RowKey)


class HostTable(TurnTable, TurnRows, Protocol):
    """The calls that a host makes to a table of messages, in addition to those of runners and watchers."""

    @property
    def name(self) -> str:
        """The name in its jobs and keys: `TurnJob.table`, `RowKey.table`."""

    @property
    def model(self) -> type[Any]:
        """The class of its messages."""

    @property
    def suspends(self) -> bool:
        """Whether its calls suspend; otherwise they block."""

    @property
    def place(self) -> object:
        """A value that is equal for two tables with the same rows."""

    async def load(self, pk: str) -> Any | None:
        """The message with this primary key, as text, fresh from its row; None if there is none."""

    def record_store(self, message: Any) -> RecordStore:
        """The store of the record that a message belongs to.

        Raises:
            RecordGoneError: It belongs to none any more.
        """

    async def within(self, message: Any, write: Callable[[Any], None]) -> None:
        """Call `write` with the connection of the caller's open transaction around a message."""

    async def retry(
        self, message: Any, make: Callable[[Any], Any] | None, seconds: float
    ) -> tuple[Any, bool] | None:
        """The message that retries this one, made in a transaction of its own.

        Args:
            message: A message that failed or was cancelled.
            make: Makes a new message with its prompt; None: a copy.
            seconds: How long the new turn is reserved.

        Returns:
            The new message, and whether this call made it; repeated calls return the same one. None if `message` did
            not fail, and was not cancelled.
        """


class HostTables:
    """`TurnTable` and `TurnRows` over several tables.

    Args:
        tables: The host's tables.

    Raises:
        ConfigurationError: There is no table, one is not a table, two have the same name, or some block and others
            suspend.
    """

    def __init__(self, tables: Iterable[HostTable], *, suspend: bool) -> None:
        given = list(tables) if isinstance(tables, Iterable) else [tables]
        fit = all(hasattr(table, "suspends") for table in given)  # a model, say, does not
        self._tables = {table.name: table for table in given} if fit else {}
        if not given or len(self._tables) != len(given):
            names = ", ".join(str(getattr(table, "name", table)) for table in given) or "none"
            raise ConfigurationError(
                "tables must be tables of turns, such as SQLAlchemyTurnTable(Message, engine), each once; given are: "
                f"{names}"
            )
        for table in given:
            if table.suspends != suspend:
                how = "an AsyncEngine or async_sessionmaker" if suspend else "an Engine or sessionmaker"
                kind = "AsyncHost" if suspend else "Host"
                raise ConfigurationError(f"the table {table.name} of {kind} must be made with {how}")

    @property
    def tables(self) -> Sequence[HostTable]:
        """The tables."""
        return list(self._tables.values())

    @property
    def places(self) -> dict[str, object]:
        """The place of each table, by its name; see `HostTable.place`."""
        return {name: table.place for name, table in self._tables.items()}

    def named(self, name: str) -> HostTable:
        """The table with this name.

        Raises:
            ConfigurationError: There is none.
        """
        if name not in self._tables:
            known = ", ".join(self._tables)
            raise ConfigurationError(f"{name!r} is no table of turns of this host: it has {known}")
        return self._tables[name]

    def of(self, message: Any) -> HostTable:
        """The table of a message.

        Raises:
            ConfigurationError: No table has its model.
        """
        for table in self._tables.values():
            if isinstance(message, table.model):
                return table
        models = ", ".join(table.model.__name__ for table in self._tables.values())
        raise ConfigurationError(
            f"{type(message).__name__} is no model of this host's messages: its tables have {models}; give its table "
            "of turns to tables="
        )

    def job_of(self, message: Any) -> TurnJob:
        """See `TurnTable.job_of`."""
        return self.of(message).job_of(message)

    def inside(self, tenant: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the port's
        """See `TurnTable.inside`."""
        return nullcontext()

    async def find(self, job: TurnJob) -> Any | None:
        """See `TurnTable.find`."""
        return await self.named(job.table).find(job)

    def store(self, job: TurnJob, message: Any) -> MessageStore:
        """See `TurnTable.store`."""
        return self.named(job.table).store(job, message)

    async def reserve(self, message: Any, seconds: float) -> None:
        """See `TurnTable.reserve`."""
        await self.of(message).reserve(message, seconds)

    def after_commit(self, message: Any, action: Callable[[], None]) -> None:
        """See `TurnTable.after_commit`."""
        self.of(message).after_commit(message, action)

    async def renew(self, jobs: Collection[TurnJob], seconds: float) -> None:
        """See `TurnTable.renew`."""
        for table, some in self._sorted(jobs):
            await table.renew(some, seconds)

    async def release(self, jobs: Collection[TurnJob]) -> None:
        """See `TurnTable.release`."""
        for table, some in self._sorted(jobs):
            await table.release(some)

    async def abandoned(self, *, reserve_for: float) -> Sequence[TurnJob]:
        """See `TurnTable.abandoned`."""
        found: list[TurnJob] = []
        for table in self._tables.values():
            try:
                found += await table.abandoned(reserve_for=reserve_for)
            except Exception as error:
                if not table.is_transient(error):
                    raise
                # The other tables must not wait for this one.
                _log.warning(
                    "turns of %s that were left behind cannot be looked for now: %s", table.name, error
                )
        return found

    async def counts(self) -> TurnCounts:
        """See `TurnTable.counts`."""
        found = TurnCounts()
        for table in self._tables.values():
            found = found.plus(await table.counts())
        return found

    async def ahead_of(self, job: TurnJob, message: Any) -> Ahead | None:
        """See `TurnTable.ahead_of`."""
        return await self.named(job.table).ahead_of(job, message)

    async def put_behind(self, job: TurnJob, message: Any, seconds: float) -> bool:
        """See `TurnTable.put_behind`."""
        return await self.named(job.table).put_behind(job, message, seconds)

    async def wait_for_place(self, job: TurnJob, seconds: float) -> bool:
        """See `TurnTable.wait_for_place`."""
        return await self.named(job.table).wait_for_place(job, seconds)

    async def resume_waiting(
        self, message: Any, place: Place, seconds: float, may_begin: MayBegin
    ) -> TurnJob | None:
        """See `TurnTable.resume_waiting`. A server has turns of all tables."""
        for table in self._tables.values() if place.server is not None else [self.of(message)]:
            if (job := await table.resume_waiting(message, place, seconds, may_begin)) is not None:
                return job
        return None

    async def resume(self, message: Any, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume`."""
        return await self.of(message).resume(message, seconds)

    async def resume_next(self, message: Any, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume_next`."""
        return await self.of(message).resume_next(message, seconds)

    async def running(self) -> Mapping[str | None, int]:
        """See `TurnTable.running`."""
        found: Counter[str | None] = Counter()
        for table in self._tables.values():
            found.update(await table.running())
        return found

    async def usage(self, message: Any, of: Any, since: datetime | None) -> Usage:
        """See `TurnTable.usage`."""
        return await self.of(message).usage(message, of, since)

    def key_of(self, message: Any) -> RowKey:
        """See `TurnRows.key_of`."""
        return self.of(message).key_of(message)

    async def heads(self, keys: Collection[RowKey]) -> Mapping[RowKey, Head]:
        """See `TurnRows.heads`."""
        found: dict[RowKey, Head] = {}
        for table, some in self._sorted(keys):
            found |= await table.heads(some)
        return found

    async def row(self, key: RowKey) -> TurnRow | None:
        """See `TurnRows.row`."""
        return await self.named(key.table).row(key)

    def is_transient(self, error: Exception) -> bool:
        """See `TurnTable.is_transient`."""
        return any(table.is_transient(error) for table in self._tables.values())

    def give_back(self) -> None:
        """See `TurnTable.give_back`."""
        for table in self._tables.values():
            table.give_back()

    def _sorted(self, keys: Collection[K]) -> list[tuple[HostTable, list[K]]]:
        """Each table with its own keys."""
        found: defaultdict[str, list[K]] = defaultdict(list)
        for key in keys:
            found[key.table].append(key)
        return [(self.named(name), some) for name, some in found.items()]
