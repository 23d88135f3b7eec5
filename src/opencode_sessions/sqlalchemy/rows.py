"""The row of a store, and the way to it: by a key and an engine, or through an instance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, Engine, Table, inspect, update
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import Mapper, Session, object_session, sessionmaker
from sqlalchemy.orm.attributes import set_committed_value

from opencode_sessions.errors import ConfigurationError, OpenTransactionError, RecordNotSavedError
from opencode_sessions.sqlalchemy.tables import Identity, MappedTable
from opencode_sessions.sqlalchemy.transactions import Prepare, Transactions, transactions_over

__all__ = [
    "AddressedRow",
    "AttachedRow",
    "Info",
    "Row",
    "Source",
    "bind_of",
    "engine_of",
    "info_of",
    "preparation",
    "show",
    "whole",
]

Source: TypeAlias = Engine | AsyncEngine | sessionmaker[Any] | async_sessionmaker[Any]
Info: TypeAlias = Mapping[Any, Any]

_HOOK = "opencode_prepare_connection"


class Row(Protocol):
    """One row and the way to it."""

    table: MappedTable
    instance: object | None
    """The caller's own copy of the row, if there is one."""
    info: Info
    """The `info` of the caller's ORM session, for the host's hooks."""

    @property
    def identity(self) -> Identity:
        """The primary key.

        Raises:
            RecordNotSavedError: The row has none yet.
        """

    @property
    def transactions(self) -> Transactions:
        """The transactions of the row's engine.

        Raises:
            ConfigurationError: The row cannot be reached.
        """

    def check(self) -> None:
        """See `RecordStore.check`."""


class AddressedRow:
    """A row given by its primary key and the transactions of its engine."""

    def __init__(
        self,
        table: MappedTable,
        primary_key: object,
        transactions: Transactions,
        instance: object | None,
        info: Info,
    ) -> None:
        self.table = table
        self.instance = instance
        self.info = info
        self._primary_key = primary_key
        self.transactions = transactions

    @classmethod
    def found_by(
        cls,
        table: MappedTable,
        primary_key: object,
        source: Source,
        instance: object | None,
        info: Info | None,
    ) -> AddressedRow:
        """The row in the database of an engine or a sessionmaker.

        Raises:
            ConfigurationError: There is no engine for its table.
        """
        info = info_of(source) if info is None else info
        engine = engine_of(source, table, "the sessionmaker")
        transactions = transactions_over(engine, preparation(table, info))
        return cls(table, primary_key, transactions, instance, info)

    @classmethod
    def beside(cls, row: Row, identity: Identity) -> AddressedRow:
        """Another row of the same table, on the same engine, without a copy of the caller's."""
        return cls(row.table, identity, row.transactions, None, row.info)

    @property
    def identity(self) -> Identity:
        """See `Row.identity`."""
        identity = self.table.identity(self._primary_key)
        if None in identity:
            raise _not_saved(self.table)
        return identity

    def check(self) -> None:
        """See `Row.check`. It cannot tell whether the caller has a transaction open."""
        _ = self.identity
        if self.instance is not None and (session := object_session(self.instance)) is not None:
            _refuse_open_transaction(session, self.table.key(self.identity))


class AttachedRow:
    """The row of an instance, on the engine of the instance's ORM session."""

    def __init__(self, table: MappedTable, instance: object, *, asynchronous: bool) -> None:
        self.table = table
        self.instance = instance
        self.info: Info = {}
        self._asynchronous = asynchronous
        self._transactions: Transactions | None = None

    @property
    def identity(self) -> Identity:
        """See `Row.identity`. Expired attributes are not touched."""
        identity: Identity | None = inspect(self.instance).identity
        if identity is None:
            raise _not_saved(self.table)
        return identity

    @property
    def transactions(self) -> Transactions:
        """See `Row.transactions`. They are kept once found, because the instance may be detached later."""
        if self._transactions is None:
            session = self._session()
            engine = engine_of(session, self.table, self.table.key(self.identity))
            if engine.dialect.is_async != self._asynchronous:
                raise self._wrong_face()
            self.info = dict(session.info)  # the host may use its session for another tenant afterwards
            self._transactions = transactions_over(engine, preparation(self.table, self.info))
        return self._transactions

    def check(self) -> None:
        """See `Row.check`."""
        self._transactions = None
        _ = self.transactions
        _refuse_open_transaction(self._session(), self.table.key(self.identity))

    def _session(self) -> Session:
        key = self.table.key(self.identity)
        session = object_session(self.instance)
        if session is None:
            raise ConfigurationError(
                f"{key} is attached to no ORM session, so its database is unknown: attach it, or pass "
                f"store= with a store of opencode_sessions.sqlalchemy made of model, primary key and engine"
            )
        return session

    def _wrong_face(self) -> ConfigurationError:
        key = self.table.key(self.identity)
        if self._asynchronous:
            return ConfigurationError(
                f"{key} is attached to a sync Session: import from opencode_sessions, not opencode_sessions.aio"
            )
        return ConfigurationError(
            f"{key} is attached to an AsyncSession: import from opencode_sessions.aio, not opencode_sessions"
        )


def show(instance: object, values: Mapping[str, object]) -> None:
    """Set committed values on an instance, without a query, and without changes for its session to flush."""
    for name, value in values.items():
        set_committed_value(instance, name, value)


def info_of(source: Source) -> Info:
    """The `info` of the sessions that a sessionmaker makes."""
    options = source.kw if isinstance(source, sessionmaker | async_sessionmaker) else {}
    return dict(options.get("info") or {})


def preparation(table: MappedTable, info: Info) -> Prepare | None:
    """The call of the model's `opencode_prepare_connection` for each connection; None without one."""
    hook = getattr(table.mapper.class_, _HOOK, None)
    return None if hook is None else partial(_prepare, hook, info)


def _prepare(hook: Any, info: Info, connection: Connection) -> None:
    hook(connection, info)


def engine_of(source: Source | Session, table: MappedTable, who: str) -> Engine:
    """The engine for writes to this table.

    Raises:
        ConfigurationError: There is none.
        OpenTransactionError: The source is bound to a connection.
    """
    bind = bind_of(source, table.table, who, mapper=table.mapper)
    if isinstance(bind, Connection):
        raise OpenTransactionError(
            f"the ORM session of {who} is bound to a connection, so no transaction of our own can run beside it "
            "and be committed by itself: bind the session to an engine, or pass store= with one",
            record=who,
        )
    return bind


def bind_of(
    source: Source | Session, table: Table, who: str, *, mapper: Mapper[Any] | None = None
) -> Engine | Connection:
    """The engine or connection for writes to this table.

    Raises:
        ConfigurationError: There is none.
    """
    match source:
        case Engine():
            return source
        case AsyncEngine():
            return source.sync_engine
        case async_sessionmaker():
            session: Session = source().sync_session
        case sessionmaker():
            session = source()
        case _:
            session = source
    try:
        # With the statement, for a session that routes writes to another engine than reads.
        return session.get_bind(mapper, clause=update(table))
    except UnboundExecutionError as error:
        raise ConfigurationError(f"{who} is bound to no engine: {error}") from error


def _refuse_open_transaction(session: Session, key: str) -> None:
    if session.in_transaction():
        raise OpenTransactionError(
            f"the ORM session of {key} has a transaction open: it would hold a connection, and what it has locked, "
            "while the network is awaited. Call commit() (or rollback()) before this call; note that a mere read "
            "begins a transaction, also of an expired attribute",
            record=key,
        )


def _not_saved(table: MappedTable) -> RecordNotSavedError:
    name = table.mapper.class_.__name__
    return RecordNotSavedError(
        f"this {name} has no row yet: add it to a session and commit it first", record=name
    )


def whole(message: Any) -> Any:
    """An instance with all of its columns loaded, including deferred ones and those of child classes."""
    if message is not None:
        for attribute in inspect(message).mapper.column_attrs:
            getattr(message, attribute.key)
    return message
