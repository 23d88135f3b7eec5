"""One message's store leads to another's by its key, whatever their primary key is, and in the same database."""

from __future__ import annotations

import functools
import uuid
from types import SimpleNamespace

import pytest
from django.db import connections, models
from django.test.utils import CaptureQueriesContext
from fix_stores import create_django_tables
from sqlalchemy import ForeignKey, String, Uuid, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from opencode_sessions.django import DjangoMessageStore
from opencode_sessions.runtime.stepping import run_sync as run
from opencode_sessions.sqlalchemy import MessageMixin, SQLAlchemyMessageStore
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord

KEYS = {
    "Named": ({"name": "a:b,c"}, {"name": "d:1"}),
    "Unique": ({"id": uuid.uuid4()}, {"id": uuid.uuid4()}),
    "Placed": ({"row": 1, "letter": ","}, {"row": 12, "letter": "%"}),
}


class Base(DeclarativeBase):
    pass


class Named(MessageMixin, Base):
    __tablename__ = "named"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)


class Unique(MessageMixin, Base):
    __tablename__ = "uniques"
    id: Mapped[uuid.UUID] = mapped_column(Uuid(), primary_key=True)


class Placed(MessageMixin, Base):
    __tablename__ = "placed"
    row: Mapped[int] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(String(1), primary_key=True)


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "note"}  # noqa: RUF012 - SQLAlchemy's way


class Question(MessageMixin, Note):
    __tablename__ = "questions"
    question_id: Mapped[int] = mapped_column(ForeignKey(Note.id), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "question"}  # noqa: RUF012 - likewise


@functools.cache
def django_models():
    from opencode_sessions.django.models import MessageModel  # noqa: PLC0415 - not before Django is configured

    class Named(MessageModel):
        name = models.CharField(max_length=40, primary_key=True)

        class Meta(MessageModel.Meta):
            app_label = "host"

    class Unique(MessageModel):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)

        class Meta(MessageModel.Meta):
            app_label = "host"

    class Placed(MessageModel):
        pk = models.CompositePrimaryKey("row", "letter")
        row = models.IntegerField()
        letter = models.CharField(max_length=1)

        class Meta(MessageModel.Meta):
            app_label = "host"

    class Note(MessageModel):
        class Meta(MessageModel.Meta):
            app_label = "host"

    class Question(Note):
        number = models.IntegerField()

        class Meta:
            app_label = "host"

    made = SimpleNamespace(Named=Named, Unique=Unique, Placed=Placed, Note=Note, Question=Question)
    create_django_tables(*vars(made).values(), aliases=["default", "postgres"])
    return made


@pytest.fixture
def engine():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def hosts(django_databases):
    return django_models()


def saved(engine, *messages):
    with Session(engine, expire_on_commit=False) as session:
        session.add_all(messages)
        session.commit()
    return messages


@pytest.mark.parametrize("model", [Named, Unique, Placed], ids=lambda model: model.__name__)
def test_with_sqlalchemy_a_row_is_found_by_whatever_key_it_has(engine, model):
    mine, other = KEYS[model.__name__]
    saved(engine, model(prompt="mine", **mine), model(prompt="another", **other))
    store, key = (
        SQLAlchemyMessageStore(model, tuple(values.values()), engine) for values in KEYS[model.__name__]
    )
    sibling = store.sibling(key.key)
    assert sibling.key == key.key
    assert run(sibling.load()).prompt == "another"


def test_with_sqlalchemy_a_row_is_found_beside_one_that_is_attached(engine):
    with Session(engine) as session:
        messages = [Unique(id=uuid.uuid4(), prompt=prompt) for prompt in ("mine", "another")]
        session.add_all(messages)
        session.commit()
        stores = [message.__opencode_store__(asynchronous=False) for message in messages]
        sibling = stores[0].sibling(stores[1].key)
        stores[0].check()
        assert run(sibling.load()).prompt == "another"


def test_with_sqlalchemy_a_row_of_an_inherited_table_is_found(engine):
    first, second = saved(engine, Question(prompt="mine"), Question(prompt="another"))
    stores = [SQLAlchemyMessageStore(Question, each.id, engine) for each in (first, second)]
    assert stores[0].key == f"questions:{first.id}"
    assert run(stores[0].sibling(stores[1].key).load()).prompt == "another"


@pytest.mark.parametrize("model", KEYS)
@pytest.mark.parametrize("alias", ["default", "postgres"])
def test_with_django_a_row_is_found_by_whatever_key_it_has_in_the_stores_own_database(hosts, model, alias):
    model = getattr(hosts, model)
    model.objects.using(alias).all().delete()
    mine, other = (
        model.objects.using(alias).create(prompt=f"in {alias}", **values) for values in KEYS[model.__name__]
    )
    store, key = DjangoMessageStore(mine, using=alias), DjangoMessageStore(other, using=alias).key
    with CaptureQueriesContext(connections[alias]) as captured:
        sibling = store.sibling(key)
        sibling.check()
        assert sibling.key == key
    assert not captured.captured_queries
    assert run(sibling.load()).prompt == f"in {alias}"
    assert run(sibling.cancel(run(sibling.load()), {"name": "Cancelled"}))
    other.refresh_from_db()
    mine.refresh_from_db()
    assert (other.status, mine.status) == ("cancelled", "pending")


def test_with_django_a_row_of_an_inherited_table_is_found_whichever_child_it_is_of(hosts):
    note = hosts.Note.objects.create(prompt="a note")
    question = hosts.Question.objects.create(prompt="a question", number=1)
    stores = [DjangoMessageStore(note), DjangoMessageStore(question)]
    assert run(stores[0].sibling(stores[1].key).load()).prompt == "a question"
    assert run(stores[1].sibling(stores[0].key).load()).prompt == "a note"


def test_in_memory_a_record_is_no_message_and_one_that_nobody_holds_is_gone():
    mine, other, record = MemoryMessage("mine"), MemoryMessage("another"), MemoryRecord()
    store, key = MemoryMessageStore(mine), MemoryMessageStore(other).key
    assert run(store.sibling(key).load()).prompt == "another"
    assert store.sibling(record.__opencode_store__(asynchronous=False).key) is None
    del other
    assert store.sibling(key) is None
