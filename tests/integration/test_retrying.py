"""What is tried again: one new message however often it is asked, of models of all kinds."""

from __future__ import annotations

import asyncio
import threading
import uuid
from datetime import UTC, datetime

import pytest
from fix_stores import run
from host_models import Prompt
from host_rows import AsyncRows, Rows, urls_of
from selection import sample
from sqlalchemy import ForeignKey, Text, UniqueConstraint, create_engine, func, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)
from sqlmodel import Field, SQLModel

from opencode_sessions import ConfigurationError
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin, SQLAlchemyTurnTable

DATABASES = pytest.mark.parametrize("database", sample(["postgres", "sqlite"], "postgres", "sqlite"))
LONG_AGO = datetime(2020, 1, 1)  # noqa: DTZ001 - of columns without a zone


class Base(DeclarativeBase):
    pass


class Chat(RecordMixin, Base):
    __tablename__ = "chats"
    id: Mapped[int] = mapped_column(primary_key=True)


class Note(MessageMixin, Base):
    """With columns that a copy must not have, and some that it must."""

    __tablename__ = "notes"
    __table_args__ = (UniqueConstraint("slug"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    chat_id: Mapped[int] = mapped_column(ForeignKey(Chat.id))
    chat: Mapped[Chat] = relationship()
    slug: Mapped[str] = mapped_column(default=lambda: uuid.uuid4().hex)
    public: Mapped[str | None] = mapped_column(unique=True)
    author: Mapped[str]
    sent_at: Mapped[datetime] = mapped_column(default=datetime.now)
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
    of_day: Mapped[datetime]


class Plain(MappedAsDataclass, DeclarativeBase):
    pass


class Talk(RecordMixin, Plain):
    __tablename__ = "talks"
    id: Mapped[int] = mapped_column(primary_key=True)


class Journey(SQLModel, RecordMixin, table=True):
    __tablename__ = "retried_journeys"
    id: int | None = Field(default=None, primary_key=True)
    title: str


with pytest.warns(UserWarning, match='"prompt" in "Request" shadows an attribute'):

    class Request(SQLModel, MessageMixin, table=True):
        __tablename__ = "retried_requests"
        id: int | None = Field(default=None, primary_key=True)
        journey_id: int = Field(foreign_key="retried_journeys.id")
        prompt: str = Field(sa_type=Text)
        token: str = Field(default_factory=lambda: uuid.uuid4().hex, unique=True)
        sent_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
        author: str = "nobody"


@pytest.fixture
def sessions(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'retried.sqlite3'}")
    Base.metadata.create_all(engine)
    SQLModel.metadata.create_all(engine, tables=[Journey.__table__, Request.__table__])
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


def stored(sessions, *rows):
    with sessions() as db:
        db.add_all(rows)
        db.commit()
    return rows[-1]


def test_a_copy_has_the_hosts_columns_and_a_key_a_time_and_a_name_of_its_own(sessions):
    stored(sessions, Chat(id=1))
    old = stored(
        sessions,
        Note(
            chat_id=1,
            prompt="hello",
            author="ada",
            public="a",
            sent_at=LONG_AGO,
            made_at=LONG_AGO,
            of_day=LONG_AGO,
            status="failed",
            content="half",
            error={"name": "X"},
        ),
    )
    table = SQLAlchemyTurnTable(Note, sessions)
    again, made = run(table.retry(old, None, 60.0))
    assert made
    assert (again.prompt, again.author, again.chat_id, again.of_day) == ("hello", "ada", 1, LONG_AGO)
    assert (again.status, again.content, again.error, again.opencode_turn_order) == ("pending", "", None, 1)
    assert (again.public, again.id != old.id, again.slug != old.slug) == (None, True, True)
    assert again.sent_at > LONG_AGO
    assert again.made_at > LONG_AGO
    same, made = run(table.retry(old, None, 60.0))
    assert (same.id, made) == (again.id, False)
    with sessions() as db:
        assert db.get_one(Note, old.id).error == {"name": "X", "retried_as": str(again.id)}


def test_a_copy_of_a_sqlmodel_is_like_that_too(sessions):
    stored(sessions, Journey(id=1, title="Rome"))
    old = Request(journey_id=1, prompt="hello", sent_at=LONG_AGO.replace(tzinfo=UTC), author="ada")
    stored(sessions, old)
    with sessions() as db:
        db.execute(update(Request).values({Request.status: "cancelled"}))
        db.commit()
    again, _ = run(SQLAlchemyTurnTable(Request, sessions).retry(old, None, 60.0))
    assert (again.prompt, again.author, again.journey_id, again.status) == ("hello", "ada", 1, "pending")
    assert (again.sent_at.year > LONG_AGO.year, again.token != old.token) == (True, True)
    assert again.model_copy().prompt == "hello"


def test_functions_of_the_hosts_that_return_no_new_message_are_refused_and_nothing_is_stored(sessions):
    stored(sessions, Chat(id=1))
    old = stored(sessions, Note(chat_id=1, prompt="x", author="a", of_day=LONG_AGO, status="failed"))
    table = SQLAlchemyTurnTable(Note, sessions)

    async def later(message):
        return message

    wrong = [
        lambda message: None,
        lambda message: message,
        lambda message: "again",
        lambda message: Chat(),
        later,
    ]
    for make in wrong:
        with pytest.raises(ConfigurationError):
            run(table.retry(old, make, 60.0))
    without_record = Note(prompt="x", author="a", of_day=LONG_AGO)
    with pytest.raises(Exception, match="NOT NULL"):
        run(table.retry(old, lambda message: without_record, 60.0))
    with sessions() as db:
        assert db.query(Note).count() == 1
        row = db.get_one(Note, old.id)
        assert (row.error, row.revision) == (None, 0)


def test_what_did_not_fail_is_not_tried_again_and_what_was_deleted_is_once_more(sessions):
    stored(sessions, Chat(id=1))
    table = SQLAlchemyTurnTable(Note, sessions)
    for status in ("pending", "streaming", "completed"):
        fine = stored(sessions, Note(chat_id=1, prompt="x", author="a", of_day=LONG_AGO, status=status))
        assert run(table.retry(fine, None, 60.0)) is None
    old = stored(sessions, Note(chat_id=1, prompt="x", author="a", of_day=LONG_AGO, status="failed"))
    first, _ = run(table.retry(old, None, 60.0))
    with sessions() as db:
        db.delete(db.get_one(Note, first.id))
        db.commit()
    second, made = run(table.retry(old, None, 60.0))
    assert (made, second.id != first.id) == (True, True)


@DATABASES
def test_threads_that_try_again_at_once_get_one_message(request, server, tmp_path, database):
    with Rows(server, urls_of(request, tmp_path, database)[0]) as rows:
        old, table, found = rows.add("x", status="failed"), rows.table(), []
        barrier = threading.Barrier(6)

        def click():
            barrier.wait(60)
            found.append(run(table.retry(old, None, 60.0)))

        threads = [threading.Thread(target=click) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({again.id for again, _ in found}) == 1
        assert sorted(made for _, made in found) == [False] * 5 + [True]
        with rows.sessions() as db:
            assert db.query(Prompt).count() == 2


@DATABASES
def test_tasks_that_try_again_at_once_get_one_message(request, server, tmp_path, database):
    async def main():
        async with AsyncRows(server, urls_of(request, tmp_path, database)[1]) as rows:
            old, table = await rows.add("x", status="failed"), rows.table()
            found = await asyncio.gather(*(table.retry(old, None, 60.0) for _ in range(6)))
            assert len({again.id for again, _ in found}) == 1
            assert sorted(made for _, made in found) == [False] * 5 + [True]
            assert len(await rows.all()) == 2

    asyncio.run(main())


def test_a_model_that_is_a_dataclass_is_tried_again(tmp_path):
    class Spoken(MessageMixin, Plain):
        __tablename__ = "spoken"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        talk_id: Mapped[int] = mapped_column(ForeignKey(Talk.id))
        key: Mapped[str] = mapped_column(unique=True, default_factory=lambda: uuid.uuid4().hex)
        sent_at: Mapped[datetime] = mapped_column(default_factory=datetime.now)
        author: Mapped[str] = mapped_column(default="nobody")

    engine = create_engine(f"sqlite:///{tmp_path / 'spoken.sqlite3'}")
    Plain.metadata.create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    stored(sessions, Talk(id=1))
    spoken = Spoken(talk_id=1, sent_at=LONG_AGO, author="ada")
    spoken.prompt, spoken.status = "hello", "failed"
    old = stored(sessions, spoken)
    again, _ = run(SQLAlchemyTurnTable(Spoken, sessions).retry(old, None, 60.0))
    assert (again.prompt, again.author, again.talk_id, again.status) == ("hello", "ada", 1, "pending")
    assert (again.sent_at > LONG_AGO, again.key != old.key) == (True, True)
    with Session(engine) as db:
        assert db.query(Spoken).count() == 2
    engine.dispose()
