"""What is peculiar to SQLAlchemy's table of turns: which record a message has, keys of all kinds, and ORM sessions."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime

import pytest
from fix_stores import run, sqlalchemy_urls
from host_models import Conversation, Prompt
from selection import sample
from sqlalchemy import (
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    String,
    Text,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    deferred,
    mapped_column,
    relationship,
    sessionmaker,
)

from opencode_sessions.errors import ConfigurationError, RecordGoneError, RecordNotSavedError
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin, SQLAlchemyTurnTable, record_store_of
from opencode_sessions.sqlalchemy.record_of import RecordLink
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import RowKey


class Base(DeclarativeBase):
    pass


class Chat(RecordMixin, Base):
    __tablename__ = "chats"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), default="chat")
    __mapper_args__ = {"polymorphic_identity": "chat", "polymorphic_on": "kind"}  # noqa: RUF012 - SQLAlchemy's way


class Support(Chat):
    """Of the same table."""

    __mapper_args__ = {"polymorphic_identity": "support"}  # noqa: RUF012 - likewise


class Trip(Chat):
    """Of a table of its own."""

    __tablename__ = "trips"
    trip_id: Mapped[int] = mapped_column(ForeignKey(Chat.id), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "trip"}  # noqa: RUF012 - likewise


class Seat(RecordMixin, Base):
    __tablename__ = "seats"
    row: Mapped[int] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(String(1), primary_key=True)


class Line(MessageMixin, Base):
    """A key of two columns, and a foreign key without a relationship."""

    __tablename__ = "lines"
    chat_id: Mapped[int] = mapped_column(ForeignKey(Chat.id), primary_key=True)
    number: Mapped[str] = mapped_column(String(20), primary_key=True)


class Call(MessageMixin, Base):
    """A key that is none of a number's, a relationship, and columns that are loaded later."""

    __tablename__ = "calls"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    trip_id: Mapped[int] = mapped_column(ForeignKey(Trip.trip_id))
    trip: Mapped[Trip] = relationship()
    note: Mapped[str] = deferred(mapped_column(Text, default="a note"))
    kind: Mapped[str] = mapped_column(String(10), default="call")
    __mapper_args__ = {"polymorphic_identity": "call", "polymorphic_on": "kind"}  # noqa: RUF012 - likewise


class LongCall(Call):
    __tablename__ = "long_calls"
    call_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Call.id), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    __mapper_args__ = {"polymorphic_identity": "long"}  # noqa: RUF012 - likewise


class Remark(MessageMixin, Base):
    """Two ways to records, of which it names one; that is a key of two columns."""

    __tablename__ = "remarks"
    __table_args__ = (ForeignKeyConstraint(["seat_row", "seat_letter"], ["seats.row", "seats.letter"]),)
    opencode_record = "seat"
    id: Mapped[int] = mapped_column(primary_key=True)
    seat_row: Mapped[int | None]
    seat_letter: Mapped[str | None] = mapped_column(String(1))
    seat: Mapped[Seat | None] = relationship()
    again: Mapped[Seat | None] = relationship(viewonly=True)
    chat_id: Mapped[int | None] = mapped_column(ForeignKey(Chat.id))


class Torn(MessageMixin, Base):
    __tablename__ = "torn"
    id: Mapped[int] = mapped_column(primary_key=True)
    chat_id: Mapped[int] = mapped_column(ForeignKey(Chat.id))
    other_id: Mapped[int] = mapped_column(ForeignKey(Chat.id))


class Lonely(MessageMixin, Base):
    __tablename__ = "lonely"
    id: Mapped[int] = mapped_column(primary_key=True)


class Lost(MessageMixin, Base):
    __tablename__ = "lost"
    opencode_record = "elsewhere"
    id: Mapped[int] = mapped_column(primary_key=True)
    chat_id: Mapped[int] = mapped_column(ForeignKey(Chat.id))


class Aside(MessageMixin, Base):
    """Its record is that of the column of a session, which is no primary key."""

    __tablename__ = "asides"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey(Chat.opencode_session_id))


class Odd(MessageMixin, Base):
    """A key that cannot be made of its text."""

    __tablename__ = "odd"
    id: Mapped[bytes] = mapped_column(LargeBinary(8), primary_key=True)
    chat_id: Mapped[int] = mapped_column(ForeignKey(Chat.id))


class Timed(MessageMixin, Base):
    """A key that says when."""

    __tablename__ = "timed"
    at: Mapped[datetime] = mapped_column(primary_key=True)
    chat_id: Mapped[int] = mapped_column(ForeignKey(Chat.id))


@pytest.fixture(params=sample(["sqlite", "postgres", "mariadb"], "sqlite", "postgres"))
def engine(request):
    engine = create_engine(sqlalchemy_urls(request.getfixturevalue, request.param)[0])
    tables = [each.__table__ for each in (Chat, Trip, Seat, Line, Call, LongCall, Remark, Timed)]
    Base.metadata.create_all(engine, tables)
    yield engine
    Base.metadata.drop_all(engine, tables)
    engine.dispose()


@pytest.fixture
def database(engine):
    with Session(engine, expire_on_commit=False) as database:
        yield database


def enqueue(table, database, *messages, seconds=60):
    for message in messages:
        database.add(message)
        run(table.reserve(message, seconds))
    jobs = [table.job_of(message) for message in messages]
    database.commit()
    return jobs


@pytest.mark.parametrize(
    ("model", "name", "record"),
    [(Line, "chat_id", Chat), (Call, "trip", Trip), (LongCall, "trip", Trip), (Remark, "seat", Seat)],
)
def test_a_message_belongs_to_the_record_that_its_one_foreign_key_leads_to_or_that_it_names(
    model, name, record
):
    link = RecordLink.of(model)
    assert (link.name, link.record.mapper.class_) == (name, record)
    assert [column.name for column in link.columns] == {
        Line: ["chat_id"],
        Remark: ["seat_row", "seat_letter"],
    }.get(model, ["trip_id"])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Lonely, "no foreign key to a record: set opencode_record"),
        (Torn, r"several ways to records \(chat_id, other_id\): set opencode_record"),
        (Lost, "opencode_record is 'elsewhere': it must be the name"),
        (Aside, "session_id must hold the primary key of Chat"),
        (Chat, "maps no column as 'prompt'"),
    ],
)
def test_a_model_that_does_not_say_its_record_is_refused(model, said):
    with pytest.raises(ConfigurationError, match=said):
        SQLAlchemyTurnTable(model, create_engine("sqlite://"))


def test_a_record_is_reached_by_its_message_without_being_loaded(engine, database):
    seat = Seat(row=12, letter="A")
    database.add_all([seat, message := Remark(prompt="?", seat=seat)])
    database.commit()
    assert SQLAlchemyTurnTable(Remark, engine).job_of(message).record == "seats:12,A"
    database.expunge_all()
    (found,) = [
        run(SQLAlchemyTurnTable(Remark, engine).find(SQLAlchemyTurnTable(Remark, engine).job_of(message)))
    ]
    store = record_store_of(found, engine)
    assert store.key == "seats:12,A"
    assert run(store.claim("remarks:1", 60)) is None
    with pytest.raises(RecordGoneError, match="its seat is null"):
        record_store_of(Remark(prompt="?", seat_row=None, seat_letter=None), engine)


def test_what_is_not_loaded_and_cannot_be_loaded_is_said(engine, database):
    database.add(chat := Chat())
    database.flush()
    database.add(message := Line(prompt="?", chat_id=chat.id, number="1"))
    database.commit()
    database.expire(message)
    assert SQLAlchemyTurnTable(Line, engine).job_of(message).record == f"chats:{chat.id}"
    database.rollback()
    database.expire(message)
    database.expunge(message)
    with pytest.raises(ConfigurationError, match=r"chat_id of this Line is not loaded.*refresh"):
        SQLAlchemyTurnTable(Line, engine).job_of(message)


def test_keys_of_two_columns_have_their_order_and_their_text(engine, database):
    table = SQLAlchemyTurnTable(Line, engine)
    database.add_all([chat := Chat(), other := Chat()])
    database.flush()
    lines = [Line(prompt="?", chat_id=chat.id, number=number) for number in ("a,b", "50%", "c")]
    jobs = enqueue(table, database, *lines)
    (elsewhere,) = enqueue(table, database, Line(prompt="?", chat_id=other.id, number="c"))
    assert [job.pk for job in jobs] == [f"{chat.id},{each}" for each in ("a%2Cb", "50%25", "c")]
    found = [run(table.find(job)) for job in jobs]
    assert [each.number for each in found] == ["a,b", "50%", "c"]
    assert run(table.ahead_of(jobs[2], found[2])) == (jobs[0], False)
    for line in lines:
        line.opencode_turn_order = 1
    database.commit()
    found = [run(table.find(job)) for job in jobs]
    by_key = sorted(jobs, key=lambda job: ["50%25", "a%2Cb", "c"].index(job.pk.partition(",")[2]))
    assert [run(table.ahead_of(job, each)) for job, each in zip(jobs, found, strict=True)] == [
        (by_key[0], False),
        None,
        (by_key[0], False),
    ]
    run(table.renew([*jobs[:2], elsewhere], -1))
    assert run(table.abandoned(reserve_for=-1)) == [*by_key[:2], elsewhere]
    run(table.release([jobs[2]]))
    assert run(table.abandoned(reserve_for=60)) == [*by_key, elsewhere]
    keys = [table.key_of(each) for each in found]
    assert run(table.heads(keys)) == dict.fromkeys(keys, (TurnStatus.PENDING, 0))


def test_a_message_is_found_whole_and_lives_without_an_orm_session(engine, database):
    table = SQLAlchemyTurnTable(Call, sessionmaker(engine))
    database.add(trip := Trip())
    database.flush()
    jobs = enqueue(
        table, database, Call(prompt="?", trip=trip), LongCall(prompt="?", trip=trip, reason="much to say")
    )
    database.close()
    call, long_call = (run(table.find(job)) for job in jobs)
    assert call.note == "a note"
    assert (type(long_call), long_call.reason) == (LongCall, "much to say")
    assert table.job_of(long_call) == jobs[1]
    store = table.store(jobs[0], call)
    store.check()
    assert run(store.take(run(store.load()), 60))
    assert run(table.resume_next(call, 60)) is None
    assert run(table.put_behind(jobs[1], long_call, 60))
    store.remember(end := run(store.load()))
    assert (call.status, end.status) == ("streaming", "streaming")


def test_a_key_that_is_a_time_is_read_back(engine, database):
    table = SQLAlchemyTurnTable(Timed, engine)
    database.add(chat := Chat())
    database.flush()
    (job,) = enqueue(table, database, Timed(prompt="?", at=datetime(2026, 1, 2, 3, 4, 5), chat_id=chat.id))  # noqa: DTZ001 - as the column
    assert run(table.find(job)).at.hour == 3


def test_a_key_that_cannot_be_read_back_is_refused_when_the_turn_is_enqueued(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'odd.sqlite3'}")
    Base.metadata.create_all(engine)
    table = SQLAlchemyTurnTable(Odd, engine)
    with Session(engine) as database:
        database.add(message := Odd(prompt="?", id=b"\x00\xff", chat_id=1))
        database.flush()
        with pytest.raises(ConfigurationError, match="cannot be made of its text"):
            table.job_of(message)
    engine.dispose()


def test_the_instance_shows_its_place_when_it_is_reserved(engine, database):
    table = SQLAlchemyTurnTable(Line, engine)
    database.add(chat := Chat())
    database.flush()
    lines = [Line(prompt="?", chat_id=chat.id, number=str(number)) for number in range(3)]
    enqueue(table, database, *lines)
    assert [line.opencode_turn_order for line in lines] == [1, 2, 3]
    assert all(line.opencode_turn_lease for line in lines)
    assert not database.is_modified(lines[0])


def test_what_belongs_to_no_record_any_more_is_found_and_waits_for_nobody(engine, database):
    table = SQLAlchemyTurnTable(Remark, engine)
    database.add(seat := Seat(row=1, letter="A"))
    jobs = enqueue(table, database, *(Remark(prompt="?", seat=seat) for _ in range(2)), seconds=-1)
    for message in database.query(Remark):
        message.seat = None
    database.commit()
    found = run(table.abandoned(reserve_for=60))
    assert [job.pk for job in found] == [job.pk for job in jobs]
    message = run(table.find(found[1]))
    assert run(table.ahead_of(found[1], message)) is None
    with pytest.raises(ConfigurationError, match="belongs to no record: its seat is null"):
        table.job_of(message)
    with pytest.raises(RecordGoneError):
        record_store_of(message, engine)


def test_jobs_and_rows_of_other_tables_are_refused(engine, database):
    table, other = SQLAlchemyTurnTable(Line, engine), SQLAlchemyTurnTable(Call, engine)
    database.add(chat := Chat())
    database.flush()
    message = Line(prompt="?", chat_id=chat.id, number="1")
    with pytest.raises(RecordNotSavedError, match="Line has no row yet"):
        table.job_of(message)
    (job,) = enqueue(table, database, message)
    for call in (other.find(job), other.renew([job], 60), other.heads([table.key_of(message)])):
        with pytest.raises(ConfigurationError, match="is no row of the table calls"):
            run(call)
    with pytest.raises(ConfigurationError, match="has no turn of Line"):
        run(other.reserve(message, 60))


def test_who_is_in_no_orm_session_cannot_be_enqueued(engine):
    message = Line(prompt="?", chat_id=1, number="1")
    with pytest.raises(ConfigurationError, match=r"attached to no ORM session.*session\.add"):
        run(SQLAlchemyTurnTable(Line, engine).reserve(message, 60))


@pytest.mark.parametrize("kind", ["postgres", *sample(["mariadb"], "mariadb")])
def test_open_transactions_of_one_record_do_not_wait_for_each_other(request, kind):
    engine = create_engine(sqlalchemy_urls(request.getfixturevalue, kind)[0])
    table = SQLAlchemyTurnTable(Prompt, engine)
    with Session(engine) as first, Session(engine) as second:
        first.add(chat := Conversation())
        first.commit()
        for database in (first, second):
            database.add(message := Prompt(prompt="?", conversation_id=chat.id))
            run(table.reserve(message, 60))
        for database in (first, second):
            database.commit()
    engine.dispose()


@pytest.fixture
def urls(request):
    return sqlalchemy_urls(request.getfixturevalue, "sqlite")


def test_a_session_of_the_other_api_is_refused_before_anything_is_stored(urls):
    engine, async_engine = create_engine(urls[0]), create_async_engine(urls[1])
    asynchronous = SQLAlchemyTurnTable(Prompt, async_sessionmaker(async_engine))
    with Session(engine) as database:
        database.add(message := Prompt(prompt="?"))
        with pytest.raises(
            ConfigurationError, match=r"attached to a sync Session, and its turn table .* async engine"
        ):
            run(asynchronous.reserve(message, 60))
        assert message in database.new

    async def reverse():
        async with AsyncSession(async_engine) as database:
            database.add(message := Prompt(prompt="?"))
            with pytest.raises(ConfigurationError, match=r"attached to an AsyncSession, .* sync engine"):
                await SQLAlchemyTurnTable(Prompt, engine).reserve(message, 60)
            assert message in database.new
        await async_engine.dispose()

    asyncio.run(reverse())
    engine.dispose()


def test_an_expired_instance_of_an_async_session_is_enqueued_and_says_what_it_cannot_tell(urls):
    async_engine = create_async_engine(urls[1])
    table = SQLAlchemyTurnTable(Prompt, async_engine)

    async def enqueue():
        async with AsyncSession(async_engine) as database:
            database.add(conversation := Conversation())
            database.add(message := Prompt(prompt="?", conversation=conversation))
            await database.commit()
            with pytest.raises(ConfigurationError, match="not loaded"):
                table.job_of(message)
            await table.reserve(message, 60)
            job = table.job_of(message)
            called = []
            table.after_commit(message, lambda: called.append(asyncio.get_running_loop()))
            await database.commit()
            assert called == [asyncio.get_running_loop()]
        found = await table.find(job)
        assert await table.ahead_of(job, found) is None
        await async_engine.dispose()

    asyncio.run(enqueue())


def test_connections_are_prepared_with_the_info_of_the_table(urls):
    prepared = []

    class Prepared(DeclarativeBase):
        @staticmethod
        def opencode_prepare_connection(_connection, info):
            prepared.append(info["tenant"])

    class Record(RecordMixin, Prepared):
        __tablename__ = "prepared_records"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Message(MessageMixin, Prepared):
        __tablename__ = "prepared_messages"
        id: Mapped[int] = mapped_column(primary_key=True)
        record_id: Mapped[int] = mapped_column(ForeignKey(Record.id))

    engine = create_engine(urls[0])
    Prepared.metadata.create_all(engine)
    for table in (
        SQLAlchemyTurnTable(Message, engine, info={"tenant": "acme"}),
        SQLAlchemyTurnTable(Message, sessionmaker(engine, info={"tenant": "acme"})),
    ):
        prepared.clear()
        assert run(table.abandoned(reserve_for=60)) == []
        assert prepared == ["acme"]
    engine.dispose()


def test_a_database_that_is_away_is_told_from_what_is_wrong(urls, postgres):
    engine = create_engine(urls[0], pool_size=1, max_overflow=0, pool_timeout=0.01)
    table = SQLAlchemyTurnTable(Prompt, engine)
    with engine.connect() as connection:
        with pytest.raises(PoolTimeoutError) as full:
            run(table.abandoned(reserve_for=60))
        assert table.is_transient(full.value)
        twice = Conversation.__table__.insert().values([{"opencode_session_id": "ses_1", "title": ""}] * 2)
        with pytest.raises(IntegrityError) as refused:
            connection.execute(twice)
        assert not table.is_transient(refused.value)
    engine.dispose()
    nowhere = make_url(postgres.url("asyncpg", "x")).set(port=1)
    away = SQLAlchemyTurnTable(Prompt, create_async_engine(nowhere))
    with pytest.raises(OSError, match="Connect call failed") as refused:
        asyncio.run(away.abandoned(reserve_for=60))
    assert away.is_transient(refused.value)


def test_no_statement_begins_before_the_lock_that_sqlite_would_refuse(urls):
    """A transaction that reads and then writes is refused at once where somebody wrote in between."""
    engine, seen = create_engine(urls[0]), []
    event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2].split()[0]))
    event.listen(engine, "commit", lambda _: seen.append("COMMIT"))
    table = SQLAlchemyTurnTable(Prompt, engine)
    with Session(engine) as database:
        database.add(conversation := Conversation())
        database.add(message := Prompt(prompt="?", conversation=conversation))
        run(table.reserve(message, -1))
        job = table.job_of(message)
        database.commit()
    found = run(table.find(job))
    seen.clear()
    for call in (
        table.abandoned(reserve_for=60),
        table.put_behind(job, found, 60),
        table.resume_next(found, 60),
    ):
        run(call)
    written = [index for index, word in enumerate(seen) if word == "UPDATE"]
    assert written
    committed = [index for index, word in enumerate(seen) if word == "COMMIT"]
    assert committed == [index + 1 for index in written if seen[index + 1] == "COMMIT"]
    engine.dispose()


def test_what_every_turn_asks_of_its_row_is_made_once(engine, database):
    """SQLAlchemy takes longer to make a statement than to execute it."""
    table = SQLAlchemyTurnTable(Line, engine)
    database.add(chat := Chat())
    database.flush()
    lines = [Line(prompt="?", chat_id=chat.id, number=str(number)) for number in range(2)]
    jobs = enqueue(table, database, *lines)
    made = []
    event.listen(engine, "before_execute", lambda _connection, statement, *_: made.append(statement))

    def ask(message, job):
        made.clear()
        with engine.begin() as connection:
            table._statements.reserve(connection, (message.chat_id, message.number), (message.chat_id,), 60)
        run(table.row(RowKey(table=job.table, pk=job.pk, database=job.database)))
        run(table.store(job, message).load())
        run(table.resume_next(message, 60))
        return [*made]

    first, second = (ask(*each) for each in zip(lines, jobs, strict=True))
    assert len(first) >= 5
    assert [*map(id, first)] == [*map(id, second)]
