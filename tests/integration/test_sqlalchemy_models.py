from __future__ import annotations

from datetime import datetime

import pytest
from fix_stores import run, walk
from host_models import Answer, Conversation
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
    create_engine,
    select,
    text,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    mapped_column,
)

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.sessions.spec import SessionSpec
from opencode_sessions.sqlalchemy import (
    MessageMixin,
    RecordMixin,
    SQLAlchemyMessageStore,
    SQLAlchemyRecordStore,
)
from opencode_sessions.store.messages import MessageState


class Base(DeclarativeBase):
    pass


class Seat(RecordMixin, Base):
    """A key of two columns."""

    __tablename__ = "seats"
    row: Mapped[int] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(primary_key=True)


class Ticket(Base):
    """No mixin; columns under names of its own."""

    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    opencode_uid: Mapped[str | None]
    opencode_session_id: Mapped[str | None] = mapped_column("oc_session", String(80))
    opencode_session_ready_at: Mapped[datetime | None] = mapped_column("oc_ready", DateTime(timezone=True))
    opencode_session_digest: Mapped[str | None] = mapped_column("oc_digest", String(64))
    opencode_turn: Mapped[str | None] = mapped_column("oc_turn", String(200))
    opencode_server: Mapped[str | None] = mapped_column("oc_server", String(64))


class Reply(Base):
    """No mixin either, and a JSON column that would store None as JSON's null."""

    __tablename__ = "replies"
    id: Mapped[int] = mapped_column(primary_key=True)
    opencode_uid: Mapped[str | None]
    prompt: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    opencode_prompt_id: Mapped[str | None]
    opencode_prompt_session_id: Mapped[str | None]
    opencode_turn_epoch: Mapped[int] = mapped_column(default=0)
    opencode_turn_lease: Mapped[datetime | None]
    opencode_turn_order: Mapped[int] = mapped_column(default=0)
    opencode_turn_parked: Mapped[bool] = mapped_column(default=False)
    content: Mapped[str] = mapped_column(default="")
    parts: Mapped[list] = mapped_column(JSON, default=list)
    asks: Mapped[list] = mapped_column(JSON, default=list)
    error: Mapped[dict | None] = mapped_column(JSON)
    cost: Mapped[float] = mapped_column(default=0.0)
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    revision: Mapped[int] = mapped_column(default=0)
    opencode_trace: Mapped[str | None]
    enqueued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Vehicle(RecordMixin, Base):
    """A parent whose table has the columns."""

    __tablename__ = "vehicles"
    vehicle_id: Mapped[int] = mapped_column(primary_key=True)


class Train(Vehicle):
    __tablename__ = "trains"
    train_id: Mapped[int] = mapped_column(ForeignKey(Vehicle.vehicle_id), primary_key=True)


class Place(Base):
    """A parent without them."""

    __tablename__ = "places"
    place_id: Mapped[int] = mapped_column(primary_key=True)


class City(RecordMixin, Place):
    __tablename__ = "cities"
    city_id: Mapped[int] = mapped_column(ForeignKey(Place.place_id), primary_key=True)


class DataclassBase(MappedAsDataclass, DeclarativeBase):
    metadata = MetaData(
        naming_convention={"ix": "ix_%(column_0_label)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
    )


class Trip(RecordMixin, DataclassBase):
    __tablename__ = "trips"
    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    title: Mapped[str]


class Note(MessageMixin, DataclassBase):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    prompt: Mapped[str] = mapped_column(Text)


@pytest.fixture
def bench(make_bench):
    return make_bench("sqlalchemy-sqlite-sync")


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'own.sqlite3'}")
    Base.metadata.create_all(engine)
    DataclassBase.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        yield session


def added(session, instance):
    session.add(instance)
    session.commit()
    return instance


def test_a_composite_key_names_one_row(session):
    first, second = added(session, Seat(row=1, letter="A")), added(session, Seat(row=1, letter="B"))
    mine = walk(SQLAlchemyRecordStore.attached(first, asynchronous=False))
    assert first.__opencode_store__(asynchronous=False).key == "seats:1,A"
    session.commit()
    assert (first.opencode_session_id, second.opencode_session_id) == (mine, None)


def test_any_model_that_maps_the_attributes_will_do(session):
    ticket = added(session, Ticket())
    mine = walk(SQLAlchemyRecordStore.attached(ticket, asynchronous=False))
    assert ticket.opencode_session_id == mine
    assert session.scalar(select(Ticket.__table__.c.oc_session)) == mine


def test_no_error_is_null_in_any_json_column(session):
    reply = added(session, Reply(prompt="?", error={"name": "X"}))
    store = SQLAlchemyMessageStore.attached(reply, asynchronous=False)
    assert run(store.take(run(store.load()), 60))
    assert run(store.snapshot(1, MessageState("?"), 60))
    assert session.scalar(text("SELECT error IS NULL FROM replies")) == 1


@pytest.mark.parametrize("model", [Train, City])
def test_in_joined_inheritance_the_table_that_has_the_columns_is_written(session, model):
    other, one = added(session, model()), added(session, model())
    store = one.__opencode_store__(asynchronous=False)
    mine = walk(store)
    assert run(store.read(lambda record: (type(record), record.opencode_session_id)))[1] == (model, mine)
    session.commit()
    assert other.opencode_session_id is None


def test_a_dataclass_takes_the_mixins_and_its_own_prompt(session):
    trip, note = added(session, Trip(title="Rome")), added(session, Note(prompt="Where to?"))
    session.commit()
    walk(trip.__opencode_store__(asynchronous=False))
    store = note.__opencode_store__(asynchronous=False)
    assert run(store.load()) == MessageState("Where to?")
    assert run(store.take(run(store.load()), 60))


def test_a_text_column_for_what_is_json_is_refused():
    class Told(MessageMixin, Base):
        __tablename__ = "told"
        id: Mapped[int] = mapped_column(primary_key=True)
        error: Mapped[str | None] = mapped_column(Text)

    with pytest.raises(ConfigurationError, match=r"Told\.error is a text column, .*: map it as JSON"):
        SQLAlchemyMessageStore(Told, 1, create_engine("sqlite://"))


def test_a_session_gets_the_title_of_its_record():
    assert SessionSpec.of(Conversation(title=None), None).title == ""
    assert SessionSpec.of(Conversation(title="Rome"), None).title == "Rome"


def test_a_record_without_a_title_is_reported_once_for_its_model(caplog):
    for _ in range(2):
        assert SessionSpec.of(Seat(), None).title == ""
    (said,) = caplog.messages
    assert said == (
        "Seat has no title, so its sessions have none. Define a property opencode_title on Seat, or "
        "opencode_title = None if the server is to choose a title"
    )


def test_a_message_is_pending_and_empty_from_its_first_commit(bench):
    message = bench.message("?")
    columns = {name: getattr(message, name) for name in SQLAlchemyMessageStore.columns}
    assert len(columns.pop("opencode_uid")) == 32
    assert columns == {
        "prompt": "?",
        "status": "pending",
        "opencode_prompt_id": None,
        "opencode_prompt_session_id": None,
        "opencode_turn_epoch": 0,
        "opencode_turn_lease": None,
        "opencode_turn_order": 0,
        "opencode_turn_parked": False,
        "content": "",
        "parts": [],
        "asks": [],
        "error": None,
        "cost": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "revision": 0,
        "opencode_trace": None,
        "enqueued_at": None,
        "started_at": None,
        "finished_at": None,
    }


def test_a_model_without_a_column_is_told_which(engine):
    with pytest.raises(ConfigurationError, match=r"Place maps no column as 'opencode_session_id'"):
        SQLAlchemyRecordStore(Place, 1, engine)
    with pytest.raises(ConfigurationError, match=r"Trip maps no column as 'prompt'"):
        SQLAlchemyMessageStore(Trip, 1, engine)
    with pytest.raises(ConfigurationError, match="not a mapped class"):
        SQLAlchemyRecordStore(dict, 1, engine)


def test_columns_in_two_tables_are_refused(engine):
    class Own(DeclarativeBase):
        pass

    class Parent(Own):
        __tablename__ = "parents"
        id = Column(Integer, primary_key=True)
        opencode_session_id = Column(String(64))

    class Child(Parent):
        __tablename__ = "children"
        child_id = Column(ForeignKey(Parent.id), primary_key=True)
        opencode_session_ready_at = Column(DateTime(timezone=True))
        opencode_session_digest = Column(String(64))
        opencode_turn = Column(String(200))
        opencode_server = Column(String(64))
        opencode_uid = Column(String(32))

    with pytest.raises(ConfigurationError, match="one table"):
        SQLAlchemyRecordStore(Child, 1, engine)


def test_a_key_of_the_wrong_length_is_refused(engine):
    with pytest.raises(ConfigurationError, match=r"2 values \(row, letter\)"):
        SQLAlchemyRecordStore(Seat, 1, engine)


def test_the_columns_are_what_the_documentation_says():
    columns = {column.name: column for column in Answer.__table__.columns}
    kinds = {name: type(column.type) for name, column in columns.items() if name != "id"}
    assert kinds == {
        "opencode_uid": String,
        "prompt": Text,
        "opencode_uploads": JSON,
        "status": Enum,
        "opencode_prompt_id": String,
        "opencode_prompt_session_id": String,
        "opencode_turn_epoch": Integer,
        "opencode_turn_lease": DateTime,
        "opencode_turn_order": Integer,
        "opencode_turn_parked": Boolean,
        "content": Text,
        "parts": JSON,
        "asks": JSON,
        "error": JSON,
        "cost": Double,
        "input_tokens": Integer,
        "output_tokens": Integer,
        "revision": Integer,
        "opencode_trace": String,
        "enqueued_at": DateTime,
        "started_at": DateTime,
        "finished_at": DateTime,
    }
    assert {name for name, column in columns.items() if column.nullable} == {
        "opencode_uid",
        "opencode_prompt_id",
        "opencode_prompt_session_id",
        "opencode_turn_lease",
        "error",
        "opencode_trace",
        "enqueued_at",
        "started_at",
        "finished_at",
    }
    assert columns["opencode_prompt_id"].unique
    assert columns["status"].index
