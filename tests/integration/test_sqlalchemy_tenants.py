"""The library's own connections lead to the rows that the caller's connection led to, or are refused."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest
from fix_stores import run
from sqlalchemy import ForeignKey, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from opencode_sessions import Client, Pruner, Turn, aio, errors
from opencode_sessions import Session as AgentSession
from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.sqlalchemy import (
    MessageMixin,
    RecordMixin,
    SQLAlchemyIndex,
    SQLAlchemyMessageStore,
    SQLAlchemyRecordStore,
)

TENANTS = ("acme", "globex")
DIGEST = "d1" * 32


def models_with(hook=None, schema=None):
    """A host's models, with and without a hook."""

    class Base(DeclarativeBase):
        pass

    if hook is not None:
        Base.opencode_prepare_connection = staticmethod(hook)

    class Conversation(RecordMixin, Base):
        __tablename__ = "conversations"
        __table_args__ = {"schema": schema}  # noqa: RUF012 - SQLAlchemy's way
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(default="")

    class Message(MessageMixin, Base):
        __tablename__ = "messages"
        __table_args__ = {"schema": schema}  # noqa: RUF012 - likewise
        id: Mapped[int] = mapped_column(primary_key=True)
        conversation_id: Mapped[int] = mapped_column(ForeignKey(Conversation.id))

    return Base, Conversation, Message


def set_search_path(connection, info):
    connection.execute(text(f"SET LOCAL search_path TO {info['tenant']}"))


class TenantSession(Session):
    """As an app has it that names the tenant at the beginning of each transaction."""


class AsyncTenantSession(AsyncSession):
    sync_session_class = TenantSession


@event.listens_for(TenantSession, "after_begin")
def _after_begin(session, _transaction, connection):
    set_search_path(connection, session.info)


Base, Conversation, Message = models_with(set_search_path)
BareBase, BareConversation, BareMessage = models_with()


@pytest.fixture(scope="module")
def database(postgres):
    """Two schemas with equal tables. A connection that names none reads acme's."""
    name = postgres.create_database()
    engine = create_engine(postgres.url("psycopg", name))
    with engine.begin() as connection:
        for tenant in TENANTS:
            connection.execute(text(f"CREATE SCHEMA {tenant}"))
            set_search_path(connection, {"tenant": tenant})
            Base.metadata.create_all(connection)
        connection.execute(text(f"ALTER DATABASE {name} SET search_path TO acme"))
    engine.dispose()
    return name


@pytest.fixture
def engine(postgres, database):
    engine = create_engine(postgres.url("psycopg", database))
    with engine.begin() as connection:
        for tenant in TENANTS:
            connection.execute(text(f"TRUNCATE {tenant}.messages, {tenant}.conversations"))
    yield engine
    assert engine.pool.checkedout() == 0
    engine.dispose()


@contextmanager
def rows_of(engine, tenant, conversation, message):
    """The rows of one tenant, with the same keys as those of the others; committed, and so expired."""
    with TenantSession(engine, info={"tenant": tenant}) as session:
        session.add(conversation(id=1, title=tenant))
        session.flush()
        session.add(message(id=1, conversation_id=1, prompt=f"I am {tenant}"))
        session.commit()
        rows = session.get(conversation, 1), session.get(message, 1)
        session.commit()
        yield rows


def answers(engine):
    with engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT status, content FROM {tenant}.messages")).one()  # noqa: S608 - our names
            for tenant in TENANTS
        ]


EACH_ITS_OWN = [("completed", f'You said: "I am {tenant}".') for tenant in TENANTS]


def test_each_tenants_turn_is_answered_in_its_own_schema(engine, client):
    for tenant in TENANTS:
        with rows_of(engine, tenant, Conversation, Message) as (conversation, message):
            result = Turn(message, AgentSession(conversation, namespace="tenants"), client).run()
            assert result.content == f'You said: "I am {tenant}".'
    assert answers(engine) == EACH_ITS_OWN


def test_each_tenants_turn_is_answered_in_its_own_schema_with_asyncio(engine, postgres, database, server):
    async def turn(async_engine, client, tenant):
        async with AsyncTenantSession(async_engine, info={"tenant": tenant}) as session:
            session.add(Conversation(id=1, title=tenant))
            await session.flush()
            session.add(Message(id=1, conversation_id=1, prompt=f"I am {tenant}"))
            await session.commit()
            conversation, message = await session.get(Conversation, 1), await session.get(Message, 1)
            await session.commit()
            await aio.Turn(message, aio.Session(conversation), client).run()

    async def turns():
        async_engine = create_async_engine(postgres.url("asyncpg", database))
        async with aio.Client(server.url, password=server.password) as client:
            await asyncio.gather(*(turn(async_engine, client, tenant) for tenant in TENANTS))
        await async_engine.dispose()

    asyncio.run(turns())
    assert answers(engine) == EACH_ITS_OWN


def test_another_tenants_row_under_the_same_key_is_refused_before_anything_is_sent(engine, client):
    with rows_of(engine, "acme", BareConversation, BareMessage):
        pass
    with rows_of(engine, "globex", BareConversation, BareMessage) as (conversation, message):
        session = AgentSession(conversation)
        for call in (Turn(message, session, client).run, Turn(message, session, client).cancel):
            with pytest.raises(errors.WrongRowError, match=r"messages:1.*tenants\.md") as caught:
                call()
            assert caught.value.record == "messages:1"
        for call in (session.ensure, session.recreate, session.reconcile, session.delete):
            with pytest.raises(errors.WrongRowError):
                call(client)
    assert answers(engine) == [("pending", "")] * 2
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT opencode_session_id FROM acme.conversations")) is None


def test_no_write_hits_another_row_even_if_the_connection_is_switched_meanwhile(engine):
    tenants = iter(["globex", "acme", "acme", "globex"])
    _, conversations, messages = models_with(
        lambda connection, _: set_search_path(connection, {"tenant": next(tenants)})
    )
    with rows_of(engine, "acme", BareConversation, BareMessage):
        pass
    with rows_of(engine, "globex", BareConversation, BareMessage):
        pass
    store = SQLAlchemyRecordStore(conversations, 1, engine)  # without a copy: what it reads first is its row
    run(store.load())
    with pytest.raises(errors.WrongRowError):
        run(store.reserve(None, new_session_id()))  # writes, and then reads why it could not
    assert not run(store.mark_deleting("ses_1"))
    assert run(store.load()).session_id is None
    store = SQLAlchemyMessageStore(messages, 1, engine)
    tenants = iter(["globex", "acme"])
    seen = run(store.load())
    assert not run(store.take(seen, 60))
    assert answers(engine) == [("pending", "")] * 2


def test_a_row_that_the_own_connection_does_not_see_is_said_not_to_be_seen(engine, client):
    with rows_of(engine, "globex", BareConversation, BareMessage) as (conversation, _):
        with pytest.raises(errors.RecordGoneError, match="own database connection does not see it"):
            AgentSession(conversation).ensure(client)


def test_sessions_of_all_tenants_are_known_to_an_index_of_each(engine, client):
    ids = [new_session_id(), new_session_id()]
    for tenant, session_id in zip(TENANTS, ids, strict=True):
        with rows_of(engine, tenant, Conversation, Message) as (conversation, _):
            store = conversation.__opencode_store__(asynchronous=False)
            run(store.reserve(None, session_id))
    indexes = [SQLAlchemyIndex(Conversation, engine, info={"tenant": tenant}) for tenant in TENANTS]
    assert [run(index.named(ids)) for index in indexes] == [{each} for each in ids]
    maker = sessionmaker(engine, info={"tenant": "globex"})
    assert run(SQLAlchemyIndex(Conversation, maker).named(ids)) == {ids[1]}
    Pruner(*indexes)


def moved_on(store, right):
    """What a store of the row does, seen by `right`: it reads, writes and follows relations."""
    mine = new_session_id()
    run(store.reserve(None, mine))
    assert run(store.confirm(mine, DIGEST))
    _, title = run(store.read(lambda record: record.title))
    assert (title, right()) == ("globex", mine)


def stored_in(engine, schema):
    def right():
        with engine.connect() as connection:
            return connection.scalar(text(f"SELECT opencode_session_id FROM {schema}.conversations"))  # noqa: S608 - ours

    return right


@pytest.fixture
def globex(engine):
    """A row of each tenant; the copy is of globex's."""
    with rows_of(engine, "acme", BareConversation, BareMessage):
        pass
    with rows_of(engine, "globex", BareConversation, BareMessage):
        pass


@pytest.mark.usefixtures("globex")
def test_a_store_that_is_given_an_engine_is_given_the_tenant_too(engine):
    maker = sessionmaker(engine, info={"tenant": "globex"})
    moved_on(SQLAlchemyRecordStore(Conversation, 1, maker), stored_in(engine, "globex"))
    store = SQLAlchemyRecordStore(Conversation, 1, engine, info={"tenant": "acme"})
    assert run(store.load()).session_id is None
    async_maker = async_sessionmaker(create_async_engine("postgresql+asyncpg://"), info={"tenant": "globex"})
    assert SQLAlchemyRecordStore(Conversation, 1, async_maker)._row.info == {"tenant": "globex"}


@pytest.mark.usefixtures("globex")
def test_a_schema_translation_of_the_engine_holds_without_a_hook(engine):
    translated = engine.execution_options(schema_translate_map={None: "globex"})
    with Session(translated) as session:
        record = session.get(BareConversation, 1)
        session.commit()
        moved_on(record.__opencode_store__(asynchronous=False), stored_in(engine, "globex"))


def test_a_schema_translation_of_the_callers_connection_alone_needs_the_hook(engine, globex):
    def translate(connection, info):
        connection.execution_options(schema_translate_map={None: info["tenant"]})

    for hook in (translate, None):
        _, conversations, _ = models_with(hook)
        with Session(engine, info={"tenant": "globex"}) as session:
            session.connection(execution_options={"schema_translate_map": {None: "globex"}})
            record = session.get(conversations, 1)
            session.commit()
            store = record.__opencode_store__(asynchronous=False)
            if hook is None:
                with pytest.raises(errors.WrongRowError):
                    run(store.load())
            else:
                moved_on(store, stored_in(engine, "globex"))


def test_the_binds_of_a_session_lead_to_the_database_that_its_writes_go_to(
    engine, globex, postgres, database
):
    options = {"connect_args": {"options": "-csearch_path=globex"}}
    other = create_engine(postgres.url("psycopg", database), **options)
    with Session(engine, binds={BareConversation: other}) as session:
        record = session.get(BareConversation, 1)
        session.commit()
        moved_on(record.__opencode_store__(asynchronous=False), stored_in(engine, "globex"))
    other.dispose()


@pytest.mark.usefixtures("globex")
def test_a_session_that_is_bound_to_a_connection_is_refused(engine):
    with engine.connect() as connection, Session(connection) as session:
        set_search_path(connection, {"tenant": "globex"})
        record = session.get(BareConversation, 1)
        with pytest.raises(errors.OpenTransactionError, match="bound to a connection"):
            record.__opencode_store__(asynchronous=False).check()


@pytest.fixture(scope="module")
def secured(postgres):
    """One table for all tenants, whose rows a policy shows to a role, by a setting of the transaction."""
    name = postgres.create_database()
    owner = create_engine(postgres.url("psycopg", name))
    base, conversations, _ = models_with()
    base.metadata.create_all(owner)
    with owner.begin() as connection:
        for statement in (
            "CREATE ROLE app LOGIN",
            "GRANT ALL ON conversations TO app",
            "ALTER TABLE conversations ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY by_tenant ON conversations USING (title = current_setting('app.tenant', true))",
        ):
            connection.execute(text(statement))
    with Session(owner) as session:
        session.add_all([conversations(id=1, title="acme"), conversations(id=2, title="globex")])
        session.commit()
    owner.dispose()
    app = create_engine(postgres.url("psycopg", name).replace("postgres@", "app@"))
    yield app
    app.dispose()


def set_tenant(connection, info):
    connection.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": info["tenant"]})


@pytest.mark.parametrize("hook", [set_tenant, None], ids=["hook", "no hook"])
def test_row_level_security_is_told_the_tenant_by_the_hook(secured, hook):
    _, conversations, _ = models_with(hook)
    with Session(secured, info={"tenant": "globex"}) as session:
        set_tenant(session.connection(), session.info)
        record = session.get(conversations, 2)
        session.commit()
        store = record.__opencode_store__(asynchronous=False)
        if hook is None:
            with pytest.raises(errors.RecordGoneError, match="does not see it"):
                run(store.load())
            return
        mine = new_session_id()
        assert run(store.reserve(None, mine)).session_id == mine
        assert run(store.confirm(mine, DIGEST))


def test_a_database_that_sqlite_attaches_is_attached_by_the_hook_or_by_the_engine(tmp_path):
    path = tmp_path / "other.sqlite3"
    attaching = f"ATTACH DATABASE '{path}' AS other"

    def attach(connection, _):
        names = [row[1] for row in connection.exec_driver_sql("PRAGMA database_list")]
        if "other" not in names:
            connection.exec_driver_sql(attaching)

    def right():
        with sqlite.connect() as connection:
            attach(connection, None)
            return connection.scalar(text("SELECT opencode_session_id FROM other.conversations"))

    for hook in (attach, None):
        sqlite = create_engine(f"sqlite:///{tmp_path / 'main.sqlite3'}")
        if hook is None:
            path.unlink()
            event.listen(sqlite, "connect", lambda raw, _: raw.execute(attaching))
        base, conversations, _ = models_with(hook, schema="other")
        with Session(sqlite) as session:
            attach(session.connection(), None)
            base.metadata.create_all(session.connection())
            session.add(conversations(id=1, title="globex"))
            session.commit()
            record = session.get(conversations, 1)
            session.commit()
            moved_on(record.__opencode_store__(asynchronous=False), right)
        sqlite.dispose()


def test_the_hook_runs_in_the_transaction_that_it_prepares_and_leaves_nothing_behind(engine, globex):
    with TenantSession(engine, info={"tenant": "globex"}) as session:
        record = session.get(Conversation, 1)
        session.commit()
        moved_on(record.__opencode_store__(asynchronous=False), stored_in(engine, "globex"))
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW search_path")) == "acme"


def test_a_session_that_goes_on_for_another_tenant_does_not_take_a_turn_with_it(engine, globex):
    with TenantSession(engine, info={"tenant": "globex"}) as session:
        record = session.get(Conversation, 1)
        session.commit()
        store = record.__opencode_store__(asynchronous=False)
        store.check()
        session.info["tenant"] = "acme"
        moved_on(store, stored_in(engine, "globex"))


def test_a_client_is_not_asked_at_all_for_a_wrong_row(engine, globex):
    with Session(engine.execution_options(schema_translate_map={None: "globex"})) as session:
        record = session.get(BareConversation, 1)
        session.commit()
        store = SQLAlchemyRecordStore(BareConversation, 1, engine, instance=record)
        with Client("http://127.0.0.1:9") as nowhere, pytest.raises(errors.WrongRowError):
            AgentSession(record, store=store).ensure(nowhere)
