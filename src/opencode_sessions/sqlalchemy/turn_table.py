"""The table of turns for SQLAlchemy: the messages of one model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, inspect, update
from sqlalchemy.orm import Session, object_session

from opencode_sessions.errors import ConfigurationError, RecordNotSavedError, WrongRowError
from opencode_sessions.sqlalchemy.committing import after_commit, in_session
from opencode_sessions.sqlalchemy.messages import SQLAlchemyMessageStore
from opencode_sessions.sqlalchemy.record_of import RecordLink, record_store_of
from opencode_sessions.sqlalchemy.records import SQLAlchemyRecordStore
from opencode_sessions.sqlalchemy.retrying import RETRIED_AS, new_message
from opencode_sessions.sqlalchemy.rows import Info, Source, engine_of, info_of, preparation, whole
from opencode_sessions.sqlalchemy.tables import Identity, MappedTable
from opencode_sessions.sqlalchemy.together import RowsTogether
from opencode_sessions.sqlalchemy.transactions import Transactions, transactions_over
from opencode_sessions.sqlalchemy.transient import is_of_a_value, is_transient
from opencode_sessions.sqlalchemy.turn_statements import Found, TurnStatements
from opencode_sessions.sqlalchemy.uids import carried
from opencode_sessions.store import claims
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.record_columns import NOW, UID
from opencode_sessions.store.turn_table import (
    Ahead,
    Head,
    MayBegin,
    Place,
    RowKey,
    TurnCounts,
    TurnJob,
    TurnRow,
    Usage,
)

__all__ = ["SQLAlchemyTurnTable"]


class SQLAlchemyTurnTable:
    """`TurnTable` and `TurnRows` over the messages of one model.

    Args:
        model: The mapped class. It has one relationship, or foreign key, to a model with the session columns. If it has
            several, it names one: `opencode_record = "conversation"`.
        source: The primary database of the rows. With an `AsyncEngine` or `async_sessionmaker` it is a table for
            `opencode_sessions.aio`, whose calls suspend; otherwise they block.
        info: For the model's `opencode_prepare_connection`; by default that of the sessionmaker.

    Raises:
        ConfigurationError: The model lacks a column, or a way to its record; or there is no engine.
    """

    def __init__(self, model: type[Any], source: Source, *, info: Info | None = None) -> None:
        self._model = model
        self._source = source
        self._info = info_of(source) if info is None else info
        self._table = MappedTable.of(model, SQLAlchemyMessageStore.columns)
        self._link = RecordLink.of(model)
        self._statements = TurnStatements(self._table, self._link)
        self._engine = engine_of(source, self._table, f"the turn table of {self.name}")
        self._transactions = self._transactions_of(self._table)
        self._records = self._transactions_of(self._link.record)
        self._together = RowsTogether(self._table, self._transactions, suspends=self.suspends)

    @property
    def name(self) -> str:
        """The table's name, with its schema if it has one."""
        return str(self._table.table.fullname)  # not a kind of its own, which a queue would not know

    @property
    def model(self) -> type[Any]:
        """The class of its messages."""
        return self._model

    @property
    def suspends(self) -> bool:
        """Whether its calls suspend; otherwise they block."""
        return bool(self._engine.dialect.is_async)

    @property
    def place(self) -> object:
        """A value that is equal for two tables with the same rows: the name, the engine, and the `info`."""
        return self.name, self._engine, self._info

    def job_of(self, message: Any) -> TurnJob:
        """See `TurnTable.job_of`. It may load the foreign key to the record, except with an `AsyncSession`."""
        identity = self._identity(message)
        record = self._link.require(self._link.identity(message), self._table.key(identity))
        return self._job(Found(identity, record, carried(message).get(UID), ""))

    def inside(self, tenant: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the port's
        """See `TurnTable.inside`. Another tenant's rows are another table, with another `info`."""
        return nullcontext()

    async def find(self, job: TurnJob) -> Any | None:
        """See `TurnTable.find`. The message is detached, with all of its columns loaded."""
        message = await self._load(self._identity_in(job))
        if message is not None and job.uid and getattr(message, UID) != job.uid:
            raise WrongRowError(
                f"{job} is another row here than the one that was enqueued: this process reads another schema or "
                "database. Nothing is run; see docs/tenants.md",
                record=str(job),
            )
        return message

    async def load(self, pk: str) -> Any | None:
        """The message with this primary key, as text, detached; None if there is none."""
        identity = self._table.identity_in(pk)
        try:
            return None if identity is None else await self._load(identity)
        except Exception as error:
            if is_of_a_value(error):  # the text comes from a URL, so it can be anything
                return None
            raise

    async def _load(self, identity: Identity) -> Any | None:
        def work(connection: Connection) -> Any | None:
            with self._session_on(connection) as session:
                return whole(session.get(self._model, identity))

        return await self._transactions.run(work)

    def record_store(self, message: Any) -> SQLAlchemyRecordStore:
        """The store of the record that a message belongs to; see `record_store_of`."""
        return record_store_of(message, self._source, info=self._info)

    async def retry(
        self, message: Any, make: Callable[[Any], Any] | None, seconds: float
    ) -> tuple[Any, bool] | None:
        """See `HostTable.retry`. Both are detached.

        Raises:
            ConfigurationError: `make` does not return a new message.
            sqlalchemy.exc.IntegrityError: The database refuses the copy. Give a function `make`.
        """
        identity = self._identity(message)

        def work(connection: Connection) -> tuple[Any, bool] | None:
            # A write first, so that the second of two clicks waits here.
            if not self._statements.touch_ended(connection, identity):
                return None
            with self._session_on(connection) as session:
                old = session.get_one(self._model, identity)
                error = dict(old.error or {})
                known = self._table.identity_in(error.get(RETRIED_AS, ""))
                again = None if known is None else session.get(self._model, known)
                if again is not None:
                    return whole(again), False
                session.add(again := new_message(old, make))
                session.flush()
                made = self._identity(again)
                record = self._link.require(self._link.load(again), self._table.key(made))
                self._statements.reserve(connection, made, record, seconds)
                self._statements.set_error(
                    connection, identity, {**error, RETRIED_AS: self._table.text(made)}
                )
                session.refresh(again)
                return whole(again), True

        found: tuple[Any, bool] | None = await self._write(work)
        return found

    def _session_on(self, connection: Connection) -> Session:
        return Session(connection, autoflush=False, info=dict(self._info))

    def store(self, job: TurnJob, message: Any) -> SQLAlchemyMessageStore:
        """See `TurnTable.store`."""
        key = self._identity_in(job)
        store = SQLAlchemyMessageStore(self._model, key, self._source, instance=message, info=self._info)
        return store.through(self._together)

    async def reserve(self, message: Any, seconds: float) -> None:
        """See `TurnTable.reserve`. It flushes the ORM session.

        Raises:
            ConfigurationError: The message is attached to no ORM session, or to one of the other API; or it has no
                record.
        """

        def work(session: Session) -> None:
            session.flush()
            identity = self._identity(message)
            record = self._link.require(self._link.load(message), self._table.key(identity))
            self._statements.reserve(self._connection_in(session), identity, record, seconds)
            session.refresh(message, ["opencode_turn_lease", "opencode_turn_order", "enqueued_at"])

        await self._in_session(message, work)

    def after_commit(self, message: Any, action: Callable[[], None]) -> None:
        """See `TurnTable.after_commit`. The transaction is that of the message's ORM session."""
        after_commit(object_session(message), action)

    async def within(self, message: Any, write: Callable[[Connection], None]) -> None:
        """See `HostTable.within`."""
        await self._in_session(message, lambda session: write(self._connection_in(session)))

    def _connection_in(self, session: Session) -> Connection:
        return session.connection(
            bind_arguments={"mapper": self._table.mapper, "clause": update(self._table.table)}
        )

    async def renew(self, jobs: Collection[TurnJob], seconds: float) -> None:
        """See `TurnTable.renew`."""
        identities = [self._identity_in(job) for job in jobs]
        await self._write(lambda connection: self._statements.renew(connection, identities, seconds))

    async def release(self, jobs: Collection[TurnJob]) -> None:
        """See `TurnTable.release`. One query."""
        identities = [self._identity_in(job) for job in jobs]
        await self._write(lambda connection: self._statements.release(connection, identities))

    async def abandoned(self, *, reserve_for: float) -> Sequence[TurnJob]:
        """See `TurnTable.abandoned`. At most 500 of either kind."""
        found = await self._transactions.run(self._statements.left)
        pending = [each.identity for each in found if each.status == TurnStatus.PENDING]

        def claim(connection: Connection) -> set[Identity]:
            return {each for each in pending if self._statements.claim_left(connection, each, reserve_for)}

        claimed = await self._write(claim) if pending else set()
        return [
            self._job(each)
            for each in found
            if each.status == TurnStatus.STREAMING or each.identity in claimed
        ]

    async def counts(self) -> TurnCounts:
        """See `TurnTable.counts`."""
        return await self._transactions.run(self._statements.counts)

    async def ahead_of(self, job: TurnJob, message: Any) -> Ahead | None:
        """See `TurnTable.ahead_of`. A turn without a record has no others ahead of it."""
        identity, record = self._identity_in(job), self._link.identity(message)
        if record is None:
            return None
        place = message.opencode_turn_order
        found = await self._transactions.run(lambda c: self._statements.ahead_of(c, identity, record, place))
        if found is None or found[0].identity == identity:  # another process has begun it since
            return None
        other, runs = found
        return Ahead(replace(job, pk=self._table.text(other.identity), uid=other.uid or ""), runs)

    async def put_behind(self, job: TurnJob, message: Any, seconds: float) -> bool:
        """See `TurnTable.put_behind`."""
        identity = self._identity_in(job)
        if not await self._write(lambda connection: self._statements.put_behind(connection, identity)):
            return False
        ahead = await self.ahead_of(job, message)
        if (ahead is not None and ahead.runs) or await self._is_claimed(message, identity):
            return True
        # Otherwise another process has just found the turn, and runs it.
        return not await self._write(
            lambda connection: self._statements.unpark(connection, identity, seconds)
        )

    async def wait_for_place(self, job: TurnJob, seconds: float) -> bool:
        """See `TurnTable.wait_for_place`."""
        identity = self._identity_in(job)
        return not await self._write(lambda c: self._statements.wait_for_place(c, identity, seconds))

    async def resume_waiting(
        self, _: Any, place: Place, seconds: float, may_begin: MayBegin
    ) -> TurnJob | None:
        """See `TurnTable.resume_waiting`."""
        for found in await self._transactions.run(lambda c: self._statements.waiting(c, place)):
            job, waiting = self._job(found), await self._load(found.identity)
            resume = partial(self._statements.resume_waiting, identity=found.identity, seconds=seconds)
            if waiting is not None and await may_begin(waiting) and await self._write(resume):
                return job
        return None

    async def resume(self, message: Any, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume`."""
        identity = self._identity(message)

        def work(connection: Connection) -> Found | None:
            resumed = self._statements.resume(connection, identity, seconds)
            return self._statements.found(connection, identity) if resumed else None

        found = await self._write(work)
        return None if found is None else self._job(found)

    async def resume_next(self, message: Any, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume_next`."""
        identity = self._identity(message)

        def look(connection: Connection) -> Found | None:
            own = self._statements.found(connection, identity)
            known = own is not None and None not in own.record
            return self._statements.next_parked(connection, own.record) if own and known else None

        found = await self._transactions.run(look)
        if found is None or not await self._write(
            lambda connection: self._statements.unpark(connection, found.identity, seconds)
        ):
            return None
        return self._job(found)

    async def usage(self, _: Any, of: Any, since: datetime | None) -> Usage:
        """See `TurnTable.usage`."""
        return await self._transactions.run(lambda c: self._statements.usage(c, of, since))

    async def running(self) -> Mapping[str | None, int]:
        """See `TurnTable.running`."""
        return await self._transactions.run(self._statements.running)

    def key_of(self, message: Any) -> RowKey:
        """See `TurnRows.key_of`."""
        return RowKey(self.name, self._table.text(self._identity(message)), "")

    async def heads(self, keys: Collection[RowKey]) -> Mapping[RowKey, Head]:
        """See `TurnRows.heads`."""
        by_identity = {self._identity_in(key): key for key in keys}

        def work(connection: Connection) -> dict[RowKey, Head]:
            found = self._statements.heads(connection, by_identity)
            return {by_identity[each]: Head(status, revision) for each, status, revision in found}

        return await self._transactions.run(work)

    async def row(self, key: RowKey) -> TurnRow | None:
        """See `TurnRows.row`."""
        identity = self._identity_in(key)
        return await self._transactions.run(lambda connection: self._statements.row(connection, identity))

    def is_transient(self, error: Exception) -> bool:
        """See `TurnTable.is_transient`."""
        return is_transient(error)

    def give_back(self) -> None:
        """See `TurnTable.give_back`. Each call does so by itself."""

    def _transactions_of(self, table: MappedTable) -> Transactions:
        engine = engine_of(self._source, table, f"the turn table of {self.name}")
        return transactions_over(engine, preparation(table, self._info))

    async def _write(self, work: Callable[[Connection], Any]) -> Any:
        return await self._transactions.run(work, commit=True)

    async def _is_claimed(self, message: Any, identity: Identity) -> bool:
        """Does another turn hold its record?"""
        record, select = self._link.identity(message), self._link.record.select
        found = None if record is None else await self._records.run(lambda c: select(c, record, NOW))
        if found is None:
            return False
        row, holder = found._asdict(), self._table.key(identity)
        return claims.other_holder(row["opencode_turn"], holder, float(row[NOW])) is not None

    def _job(self, found: Found) -> TurnJob:
        record = self._link.record.key(found.record)
        return TurnJob(self.name, self._table.text(found.identity), "", record, uid=found.uid or "")

    def _identity_in(self, key: TurnJob | RowKey) -> Identity:
        """The primary key in a job or a key.

        Raises:
            ConfigurationError: It is of another table.
        """
        identity = self._table.identity_in(key.pk)
        if key.table != self.name or identity is None:
            raise ConfigurationError(f"{key} is no row of the table {self.name}")
        return identity

    def _identity(self, message: Any) -> Identity:
        """The primary key of a message. Expired attributes are not touched.

        Raises:
            RecordNotSavedError: The message has no row yet.
            ConfigurationError: It is of another model.
        """
        self._require_model(message)
        identity: Identity | None = inspect(message).identity
        if identity is None:
            name = self._model.__name__
            said = f"this {name} has no row yet: add it to a session and flush it first"
            raise RecordNotSavedError(said, record=name)
        return identity

    def _require_model(self, message: Any) -> None:
        if not isinstance(message, self._model):
            raise ConfigurationError(
                f"this is the turn table of {self._model.__name__}, and has no turn of {type(message).__name__}"
            )

    async def _in_session(self, message: Any, work: Callable[[Session], None]) -> None:
        """Call `work` with a message's ORM session.

        Raises:
            ConfigurationError: There is none, or it does not fit this table.
        """
        self._require_model(message)
        await in_session(message, work, suspends=self.suspends)
