"""The chat's own database: a table of conversations and one of messages, at any SQLAlchemy URL.

Between two calls no transaction is open, because sessions and turns refuse to work inside one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    inspect,
    make_url,
    or_,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.server.diagnostics import ABANDONED, MOST_SHOWN, describe_turns
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin
from opencode_sessions.sqlalchemy.leases import (
    LEASE_COLUMNS,
    is_abandoned,
    is_asking,
    is_behind,
    is_parked,
    is_run,
    is_waiting_for_place,
)

__all__ = ["DEFAULT_DATABASE", "Base", "Conversation", "Database", "Message"]

DEFAULT_DATABASE = "sqlite:///opencode-sessions.sqlite3"

_CONNECT_TIMEOUT = 5
_OF_TURNS = {*LEASE_COLUMNS, "opencode_prompt_session_id"}
_EXAMPLES = "sqlite:///chat.sqlite3 or postgresql+psycopg://user:password@host/name"
_DRIVERS = {
    "psycopg": "pip install 'psycopg[binary]' and write postgresql+psycopg://…",
    "psycopg2": "pip install 'psycopg[binary]' and write postgresql+psycopg://…",
    "MySQLdb": "pip install pymysql and write mysql+pymysql://…",
}


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The chat's tables, with a prefix, so that they can be in the same database as a host's own."""


class Conversation(RecordMixin, Base):
    """A record: a conversation with one session."""

    __tablename__ = "opencode_conversations"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)

    @property
    def title(self) -> str:
        """The session's title on the server."""
        return f"chat: {self.name}"


class Message(MessageMixin, Base):
    """A message: one prompt and its answer."""

    __tablename__ = "opencode_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey(Conversation.id), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)


class Database:
    """The chat's database. Missing tables are created. It is a context manager.

    Args:
        url: A SQLAlchemy URL of a synchronous driver; not an SQLite database in memory.

    Raises:
        ConfigurationError: The URL has another form, its driver is not installed, or the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_database_url(url)
        self.engine = connect(self.url)
        try:
            _create_tables(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        # Loaded attributes stay readable after a commit, without a query that would begin a transaction.
        self._orm = Session(self.engine, expire_on_commit=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._orm.close()
        self.engine.dispose()

    @property
    def shown(self) -> str:
        """The URL without the password."""
        return self.url.render_as_string(hide_password=True)

    def conversation(self, name: str) -> Conversation:
        """The conversation with that name; a new one is created."""
        by_name = select(Conversation).where(Conversation.name == name)
        with self._orm.begin():
            found = self._orm.scalars(by_name).one_or_none()
        if found is not None:
            return found
        made = Conversation(name=name)
        try:
            with self._orm.begin():
                self._orm.add(made)
        except IntegrityError:  # another chat was faster
            with self._orm.begin():
                return self._orm.scalars(by_name).one()
        return made

    def add_message(self, conversation: Conversation, prompt: str) -> Message:
        """Add a row for a new turn."""
        message = Message(conversation_id=conversation.id, prompt=prompt)
        with self._orm.begin():
            self._orm.add(message)
        return message

    def messages(self, conversation: Conversation) -> Sequence[Message]:
        """The turns of a conversation as they are stored now, oldest first."""
        query = (
            select(Message)
            .where(Message.conversation_id == conversation.id)
            .order_by(Message.id)
            .execution_options(populate_existing=True)
        )
        with self._orm.begin():
            return self._orm.scalars(query).all()

    def count_messages(self, conversation: Conversation) -> int:
        """The number of turns in a conversation."""
        with self._orm.begin():
            query = select(func.count()).where(Message.conversation_id == conversation.id)
            return self._orm.scalar(query) or 0


def parse_database_url(url: str) -> URL:
    """The URL, checked for use by the chat.

    Raises:
        ConfigurationError: The chat cannot use it. The message says why, without the password.
    """
    try:
        parsed = make_url(url)
        asynchronous = parsed.get_dialect().is_async
    except NoSuchModuleError as error:
        raise ConfigurationError(
            f"SQLAlchemy knows no database {parsed.drivername!r}: write a URL like {_EXAMPLES}"
        ) from error
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"the database's URL cannot be read: write one like {_EXAMPLES}") from error
    except ModuleNotFoundError as error:
        raise _no_driver(parsed, error) from error
    if asynchronous:
        raise ConfigurationError(
            f"{parsed.drivername} is an asynchronous driver, and the command line is synchronous: "
            "write sqlite://… or postgresql+psycopg://…"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(
            f"an SQLite database in memory is forgotten at the end: name a file, as in {DEFAULT_DATABASE}"
        )
    return parsed


def connect(url: URL) -> Engine:
    """An engine, after one successful connection.

    Raises:
        ConfigurationError: The driver is not installed, or the database cannot be reached.
    """
    try:
        engine = create_engine(url, connect_args=_connect_args(url), hide_parameters=True)
    except ModuleNotFoundError as error:
        raise _no_driver(url, error) from error
    try:
        engine.connect().close()
    except DBAPIError as error:
        engine.dispose()
        raise _unreachable(url, error) from error
    return engine


def missing_tables(engine: Engine) -> list[str]:
    """The chat's tables that are missing in the database."""
    found = set(inspect(engine).get_table_names())
    return [table.name for table in Base.metadata.sorted_tables if table.name not in found]


def missing_columns(engine: Engine) -> list[str]:
    """The columns that are missing in the chat's tables of the database, as `table.column`."""
    look = inspect(engine)
    missing = []
    for table in Base.metadata.sorted_tables:
        if look.has_table(table.name):
            found = {column["name"] for column in look.get_columns(table.name)}
            missing += [f"{table.name}.{column.name}" for column in table.columns if column.name not in found]
    return missing


def turn_tables(engine: Engine) -> list[Table]:
    """The tables of turns in the database, the chat's and a host's own: those with a turn's columns."""
    look, found = inspect(engine), []
    for name in look.get_table_names():
        keys = look.get_pk_constraint(name)["constrained_columns"]
        columns = [
            Column(each["name"], each["type"], primary_key=each["name"] in keys)
            for each in look.get_columns(name)
        ]
        if {column.name for column in columns} >= _OF_TURNS:
            found.append(Table(name, MetaData(), *columns))
    return found


def turns_in(engine: Engine, table: Table) -> str:
    """The turns of a table that are not over, for people."""
    columns = dict(table.c.items())
    states = {
        "run": is_run(columns),
        "wait for an answer": is_asking(columns),
        "wait for another turn": is_behind(columns),
        "wait for a place": is_waiting_for_place(columns),
        ABANDONED: is_abandoned(columns),
    }
    count = select(func.count()).select_from(table)
    keys = select(*table.primary_key).order_by(*table.primary_key)
    with engine.connect() as connection:
        found = {
            state: (
                connection.scalar(count.where(condition)) or 0,
                [
                    key[0] if len(key) == 1 else tuple(key)
                    for key in connection.execute(keys.where(condition).limit(MOST_SHOWN))
                ],
            )
            for state, condition in states.items()
        }
        return describe_turns(connection.scalar(count) or 0, found)


def sessions_of_turns(url: str) -> set[str]:
    """The sessions in which turns run or wait for a person; none if the database does not exist or cannot be read."""
    try:
        parsed = parse_database_url(url)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
            return set()  # a connection would create it
        engine = connect(parsed)
    except ConfigurationError:
        return set()
    try:
        queries = [
            select(columns["opencode_prompt_session_id"]).where(or_(is_run(columns), is_parked(columns)))
            for columns in (dict(table.c.items()) for table in turn_tables(engine))
        ]
        with engine.connect() as connection:
            return {session for query in queries for session in connection.scalars(query)}
    except DBAPIError:
        return set()
    finally:
        engine.dispose()


def _create_tables(engine: Engine) -> None:
    # If two chats start at once, both find no tables. Each failure means that the other one has created one more.
    for attempts_left in reversed(range(2 * len(Base.metadata.sorted_tables))):
        try:
            Base.metadata.create_all(engine)
        except DBAPIError as error:
            if not attempts_left:
                raise _unreachable(engine.url, error) from error
        else:
            return


def _connect_args(url: URL) -> dict[str, Any]:
    if url.get_driver_name() in ("psycopg", "psycopg2") and "connect_timeout" not in url.query:
        return {"connect_timeout": _CONNECT_TIMEOUT}
    return {}


def _no_driver(url: URL, error: ModuleNotFoundError) -> ConfigurationError:
    mend = _DRIVERS.get(error.name or "", f"pip install {error.name}")
    return ConfigurationError(f"the driver of {url.drivername} is not installed ({error.name}): {mend}")


def _unreachable(url: URL, error: DBAPIError) -> ConfigurationError:
    said = " ".join(str(error.orig).split())
    return ConfigurationError(
        f"the database {url.render_as_string(hide_password=True)} cannot be used: {said}"
    )
