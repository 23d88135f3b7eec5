"""SQLAlchemy deletes rows, and the sessions that they named go with them: after the commit, on the real server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from host_models import Conversation, Owner
from selection import sample
from sqlalchemy import ForeignKey, String, create_engine, delete, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from opencode_sessions import errors, new_session_id, sqlalchemy
from opencode_sessions.sqlalchemy import RecordMixin


class Base(DeclarativeBase):
    pass


class Fleet(Base):
    __tablename__ = "fleets"
    id: Mapped[int] = mapped_column(primary_key=True)
    ships: Mapped[list[Ship]] = relationship(cascade="all, delete-orphan")


class Ship(RecordMixin, Base):
    __tablename__ = "ships"
    __mapper_args__ = {"polymorphic_identity": "ship", "polymorphic_on": "kind"}  # noqa: RUF012 - SQLAlchemy's way
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    fleet_id: Mapped[int | None] = mapped_column(ForeignKey(Fleet.id))


class Ferry(Ship):
    __tablename__ = "ferries"
    __mapper_args__ = {"polymorphic_identity": "ferry"}  # noqa: RUF012 - SQLAlchemy's way
    id: Mapped[int] = mapped_column(ForeignKey(Ship.id), primary_key=True)


@pytest.fixture(params=sample(["sqlite", "postgres"]))
def engine(request):
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('sqlite_file')}"
    else:
        name = request.getfixturevalue("postgres_tables")
        url = request.getfixturevalue("postgres").url("psycopg", name)
    engine = create_engine(url)
    if request.param == "sqlite":  # its driver gets savepoints wrong, unless SQLAlchemy begins transactions
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    yield engine
    engine.dispose()


@pytest.fixture
def database(engine, bound):
    bound(sqlalchemy, Conversation)
    with Session(engine, expire_on_commit=False) as database:
        yield database


@pytest.fixture
def stored(database, upstream):
    """A row that is committed."""

    def store(model=Conversation, **values):
        row = model(**{"opencode_session_id": upstream.make(), **values})
        database.add(row)
        database.commit()
        return row

    return store


@pytest.fixture
def fleet(engine, bound):
    bound(sqlalchemy, Ship)
    Base.metadata.create_all(engine)
    yield
    Base.metadata.drop_all(engine)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
def test_a_deleted_row_takes_its_session_with_it_when_that_is_committed(database, stored, upstream):
    kept, gone = stored(), stored()
    database.delete(gone)
    database.flush()
    assert upstream.there(gone.opencode_session_id)
    database.commit()
    assert not upstream.there(gone.opencode_session_id)
    assert upstream.there(kept.opencode_session_id)


def test_what_counts_is_the_row_not_the_copy_of_it(database, engine, stored, upstream):
    conversation = stored(opencode_session_id=None)
    session_id = upstream.make()
    with engine.begin() as connection:
        set_id = text("UPDATE conversations SET opencode_session_id = :id WHERE id = :row")
        connection.execute(set_id, {"id": session_id, "row": conversation.id})
    database.delete(conversation)
    database.commit()
    assert not upstream.there(session_id)


@pytest.mark.parametrize("end", [Session.rollback, Session.close], ids=["rollback", "close"])
def test_what_is_not_committed_is_left_alone_also_when_something_else_is(database, stored, upstream, end):
    spared, gone = stored(), stored()
    database.delete(spared)
    database.flush()
    end(database)
    database.delete(gone)
    database.commit()
    assert upstream.there(spared.opencode_session_id)
    assert not upstream.there(gone.opencode_session_id)


def test_a_savepoint_that_is_rolled_back_spares_what_was_deleted_in_it(database, stored, upstream):
    before, within, inner, after = (stored() for _ in range(4))
    database.delete(before)
    with suppress(ZeroDivisionError), database.begin_nested():
        database.delete(within)
        with database.begin_nested():
            database.delete(inner)
        raise ZeroDivisionError
    with database.begin_nested():
        database.delete(after)
    assert upstream.there(after.opencode_session_id)
    database.commit()
    rows = {"before": before, "within": within, "inner": inner, "after": after}
    there = {name: upstream.there(row.opencode_session_id) for name, row in rows.items()}
    assert there == {"before": False, "within": True, "inner": True, "after": False}


def test_a_rollback_after_a_savepoint_spares_what_was_deleted_in_that(database, stored, upstream):
    conversation = stored()
    with database.begin_nested():
        database.delete(conversation)
    database.rollback()
    database.commit()
    assert upstream.there(conversation.opencode_session_id)


def test_a_flush_that_fails_spares_what_it_deleted(database, stored, upstream):
    kept, conversation = stored(), stored()
    database.delete(conversation)
    database.flush()
    database.add(Conversation(opencode_session_id=kept.opencode_session_id))
    with pytest.raises(IntegrityError):
        database.commit()
    database.rollback()
    database.commit()
    assert upstream.there(conversation.opencode_session_id)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
def test_no_connection_is_held_while_the_server_is_awaited(engine, bound, client, upstream):
    held = []

    def give():
        held.append(engine.pool.checkedout())
        return client

    bound(sqlalchemy, Conversation, give)
    with Session(engine) as database, database.begin():
        conversation = Conversation(opencode_session_id=upstream.make())
        database.add(conversation)
        database.flush()
        database.delete(conversation)
    assert held == [0]


def test_rows_that_a_cascade_of_the_orm_deletes_and_those_of_subclasses_are_meant_too(
    engine, fleet, upstream
):
    session_ids = [upstream.make() for _ in range(3)]
    with Session(engine) as database:
        fleet = Fleet(ships=[Ship(opencode_session_id=session_ids[0])])
        fleet.ships.append(Ferry(opencode_session_id=session_ids[1]))
        alone = Ferry(opencode_session_id=session_ids[2])
        database.add_all([fleet, alone])
        database.commit()
        database.delete(fleet)
        database.delete(alone)
        database.commit()
    assert not any(upstream.there(session_id) for session_id in session_ids)


def test_a_bulk_statement_tells_nobody(database, stored, upstream):
    conversation = stored()
    database.execute(delete(Conversation).where(Conversation.id == conversation.id))
    database.commit()
    assert upstream.there(conversation.opencode_session_id)


def test_what_goes_wrong_is_reported_and_the_row_is_gone(engine, bound, nobody, reported):
    bound(sqlalchemy, Conversation, nobody)
    session_id = new_session_id()
    with Session(engine) as database:
        conversation = Conversation(opencode_session_id=session_id)
        database.add(conversation)
        database.commit()
        key = conversation.id
        database.delete(conversation)
        database.commit()
        assert database.get(Conversation, key) is None
    ((error, context),) = reported
    assert isinstance(error, errors.ServerUnreachableError)
    assert (context.action, context.record, context.session_id) == (
        "delete_with_row",
        f"conversations:{key}",
        session_id,
    )


def test_a_function_that_gives_no_client_is_reported_likewise(engine, bound, of_asyncio, reported):
    bound(sqlalchemy, Conversation, lambda: of_asyncio)
    with Session(engine) as database:
        conversation = Conversation(opencode_session_id=new_session_id())
        database.add(conversation)
        database.commit()
        database.delete(conversation)
        database.commit()
    ((error, context),) = reported
    assert isinstance(error, errors.ConfigurationError)
    assert context.action == "delete_with_row"


def test_a_row_without_a_session_asks_nothing(database, stored, carried):
    conversation = stored(opencode_session_id=None)
    carried.clear()
    database.delete(conversation)
    database.commit()
    assert carried == []


def test_it_can_be_ended(engine, bound, carried):
    bound(sqlalchemy, Conversation)()
    with Session(engine) as database:
        conversation = Conversation(opencode_session_id=new_session_id())
        database.add(conversation)
        database.commit()
        database.delete(conversation)
        database.commit()
    assert carried == []


def test_through_an_async_session_it_is_refused_aloud_and_the_row_is_deleted(
    sqlite_file, bound, upstream, reported
):
    bound(sqlalchemy, Conversation)
    session_id = upstream.make()

    async def delete_row():
        engine = create_async_engine(f"sqlite+aiosqlite:///{sqlite_file}")
        async with AsyncSession(engine) as database:
            conversation = Conversation(opencode_session_id=session_id)
            database.add(conversation)
            await database.commit()
            await database.refresh(conversation)
            key = conversation.id
            await database.delete(conversation)
            await database.commit()
            gone = await database.get(Conversation, key) is None
        await engine.dispose()
        return gone

    assert asyncio.run(delete_row())
    assert upstream.there(session_id)
    ((error, context),) = reported
    assert "before you delete the row" in str(error)
    assert context.session_id == session_id


def test_what_cannot_work_is_refused_at_once(client, of_asyncio):
    with pytest.raises(errors.ConfigurationError, match="maps no column"):
        sqlalchemy.delete_session_with_row(Owner, client)
    with pytest.raises(errors.ConfigurationError, match="aio"):
        sqlalchemy.delete_session_with_row(Conversation, of_asyncio)
