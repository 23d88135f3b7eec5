"""What the indexes of real databases answer: which of many sessions do rows name now?"""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from host_models import Conversation, Owner, django_models
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from opencode_sessions.django import DjangoIndex
from opencode_sessions.errors import ConfigurationError, OpenTransactionError
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sqlalchemy import SQLAlchemyIndex

MANY = 1_200  # more than one statement takes


@pytest.fixture(params=["sqlite", "postgres"])
def urls(request):
    """Of a database with SQLAlchemy's tables, for a sync and an async engine."""
    if request.param == "sqlite":
        path = request.getfixturevalue("sqlite_file")
        return f"sqlite:///{path}", f"sqlite+aiosqlite:///{path}"
    server, name = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_tables")
    return server.url("psycopg", name), server.url("asyncpg", name)


@pytest.fixture
def engine(urls):
    engine = create_engine(urls[0])
    yield engine
    engine.dispose()


@pytest.fixture(params=["default", "postgres"])
def alias(request, django_databases):
    yield request.param
    connections.close_all()


@pytest.fixture
def answers():
    """Asks an index for what three rows name, among many others, and for nothing."""

    def ask(add_rows, named):
        mine = [new_session_id() for _ in range(MANY)]
        add_rows([*mine[::500], None, new_session_id()])
        return named(mine) == set(mine[::500]), named([]) == set()

    return ask


def test_a_model_on_an_engine(engine, answers):
    index = SQLAlchemyIndex(Conversation, engine)
    assert index.table == "conversations"
    assert answers(rows_in(engine), lambda ids: run_sync(index.named(ids))) == (True, True)


def test_a_model_on_a_sessionmaker(engine, answers):
    index = SQLAlchemyIndex(Conversation, sessionmaker(engine))
    assert answers(rows_in(engine), lambda ids: run_sync(index.named(ids))) == (True, True)


def test_a_bare_table(engine, answers):
    table = Table("conversations", MetaData(), Column("opencode_session_id", String))
    index = SQLAlchemyIndex(table, engine)
    assert index.table == "conversations"
    assert answers(rows_in(engine), lambda ids: run_sync(index.named(ids))) == (True, True)


@pytest.mark.parametrize(
    "source", [lambda engine: engine, async_sessionmaker], ids=["engine", "sessionmaker"]
)
def test_an_asynchronous_one(urls, engine, answers, source):
    def named(ids):
        async def ask():
            asynchronous = create_async_engine(urls[1])
            try:
                return await SQLAlchemyIndex(Conversation, source(asynchronous)).named(ids)
            finally:
                await asynchronous.dispose()

        return asyncio.run(ask())

    assert answers(rows_in(engine), named) == (True, True)


def rows_in(engine):
    def add(session_ids):
        with Session(engine) as session, session.begin():
            session.add_all(Conversation(opencode_session_id=id_) for id_ in session_ids)

    return add


def test_it_sees_what_was_committed_since_it_was_last_asked(engine):
    index, new = SQLAlchemyIndex(Conversation, engine), new_session_id()
    assert run_sync(index.named([new])) == set()
    rows_in(engine)([new])
    assert run_sync(index.named([new])) == {new}
    assert engine.pool.checkedout() == 0


def test_a_column_under_another_name_is_found_by_the_models_attribute():
    class Own(DeclarativeBase):
        pass

    class Trip(Own):
        __tablename__ = "trips"
        __table_args__ = {"schema": "host"}  # noqa: RUF012 - SQLAlchemy's own way
        id: Mapped[int] = mapped_column(primary_key=True)
        opencode_session_id: Mapped[str | None] = mapped_column("agent", String(64))

    engine = create_engine("sqlite://")
    event.listen(engine, "connect", lambda connection, _: connection.execute("ATTACH ':memory:' AS host"))
    Trip.__table__.create(engine)
    with Session(engine) as session, session.begin():
        session.add(Trip(opencode_session_id="ses_1"))
    index = SQLAlchemyIndex(Trip, engine)
    assert (index.table, run_sync(index.named(["ses_1", "ses_2"]))) == ("host.trips", {"ses_1"})
    engine.dispose()


def test_what_has_no_such_column_or_no_engine_is_refused(engine):
    with pytest.raises(ConfigurationError, match="opencode_session_id"):
        SQLAlchemyIndex(Owner, engine)
    with pytest.raises(ConfigurationError, match="owners has no column"):
        SQLAlchemyIndex(Owner.__table__, engine)
    with pytest.raises(ConfigurationError, match="bound to no engine"):
        SQLAlchemyIndex(Conversation, sessionmaker())
    table = Table("x", MetaData(), Column("id", Integer), Column("opencode_session_id", String))
    with pytest.raises(ConfigurationError, match="needs an engine"):
        SQLAlchemyIndex(table, sessionmaker(engine))


def test_a_django_model(alias, answers):
    index = DjangoIndex(django_models().Conversation, using=alias)
    assert index.table == "host_conversation"
    assert answers(rows_on(alias), lambda ids: run_sync(index.named(ids))) == (True, True)


def test_an_asynchronous_django_model(alias, answers):
    index = DjangoIndex(django_models().Conversation, using=alias, asynchronous=True)

    def named(ids):
        async def ask():
            try:
                return await index.named(ids)
            finally:
                await sync_to_async(connections.close_all)()

        return asyncio.run(ask())

    assert answers(rows_on(alias), named) == (True, True)


def rows_on(alias):
    model = django_models().Conversation

    def add(session_ids):
        model.objects.using(alias).bulk_create(model(opencode_session_id=id_) for id_ in session_ids)

    return add


def test_without_an_alias_it_asks_where_writes_go(django_databases):
    new = new_session_id()
    rows_on("default")([new])
    assert run_sync(DjangoIndex(django_models().Conversation).named([new])) == {new}
    connections.close_all()


def test_inside_a_transaction_which_may_see_an_older_state_django_is_refused(alias):
    index = DjangoIndex(django_models().Conversation, using=alias)
    with (
        transaction.atomic(using=alias),
        pytest.raises(OpenTransactionError, match="older than the sessions"),
    ):
        run_sync(index.named(["ses_1"]))


def test_a_django_model_without_the_field_or_without_a_table_is_refused(django_databases):
    from opencode_sessions.django.models import RecordModel  # noqa: PLC0415 - not before Django is configured

    with pytest.raises(ConfigurationError, match="Owner has no field named 'opencode_session_id'"):
        DjangoIndex(django_models().Owner)
    with pytest.raises(ConfigurationError, match="RecordModel is abstract"):
        DjangoIndex(RecordModel)
