"""The host application under chaos: its models, its rules, and how it runs the turn of a message."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from random import Random

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import Session as Database

from opencode_sessions import IN_THE_ROW, Answer, Deadlines, ErrorContext, Session, Turn, allow, ask
from opencode_sessions.files import Artifacts, FolderStorage, Sandbox
from opencode_sessions.files import artifacts as artifacts_module
from opencode_sessions.reporting import ErrorReporter
from opencode_sessions.sqlalchemy import (
    ArtifactTables,
    MessageMixin,
    RecordMixin,
    SQLAlchemyArtifactStore,
    SQLAlchemyMessageStore,
    SQLAlchemyRecordStore,
)
from opencode_sessions.store.turn_table import TurnJob

LEASE = 2.0
DEADLINES = Deadlines(
    lease=LEASE, look=1.0, unreachable=60.0, start=60.0, silence=90.0, total=150.0, queue=30.0
)
MACHINE_DEADLINES = replace(DEADLINES, lease=10.0, unreachable=200.0, start=200.0, silence=200.0, total=400.0)
"""With several machines: so many processes may make this one slow. The lease is longer than a slow request and its
repetition, and a server that is restarted is waited for."""
PEOPLE = ("says yes", "says no and why", "says no", "is elsewhere", "is nobody")
"""Who answers what an agent asks. `is elsewhere`: the ask waits in the row for another process."""
THOUGHT = (0.1, 0.1, 1.0, 3.0)
"""Seconds that they take for it: some as long as many a runner lives, so that asks are in rows when theirs dies."""


class Base(DeclarativeBase):
    pass


class Conversation(RecordMixin, Base):
    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="chaos")


class Message(MessageMixin, Base):
    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey(Conversation.id))
    person: Mapped[str]


TABLES = ArtifactTables.add_to(Base.metadata)
artifacts_module.LOOK_AFTER = LEASE  # a minute is longer than a round


class Storage(FolderStorage):
    """A folder that cannot be used while there is a file beside it: see `away`."""

    def __init__(self, root):
        super().__init__(root)
        self._away = away(root.parent)

    def _path(self, name):
        if self._away.exists():
            raise OSError(f"the storage is away, and {name} is wanted")
        return super()._path(name)


def away(kept):
    """The file that says that storages in this folder cannot be used."""
    return kept / "away"


def artifacts(engine, files):
    """What is kept of the agents' files: the rows in this database, the rest in this folder."""
    folder = Path(files)
    storage = Storage(folder / "kept" / engine.dialect.name)
    return Artifacts(Sandbox(folder / "agents"), SQLAlchemyArtifactStore(TABLES, engine, storage))


def rules(_):
    return [allow("*"), ask("bash"), ask("external_directory")]


def turn(engine, message_id, client, *, artifacts, when_busy="wait", on_error=None, observer=None):
    """The turn of a message, made from its row. Its sessions carry the name of the database's kind."""
    with Database(engine) as database:
        message = database.get(Message, message_id)
        conversation_id, person = message.conversation_id, message.person
    session = Session(
        None,
        store=SQLAlchemyRecordStore(Conversation, conversation_id, engine),
        permissions_for=rules,
        namespace=engine.dialect.name,
        on_error=on_error,
    )
    context = ErrorContext("collect", f"messages:{message_id}")
    job = TurnJob("messages", str(message_id), engine.dialect.name, f"conversations:{conversation_id}")
    return Turn(
        None,
        session,
        client,
        artifacts=artifacts.of_turn(job, lambda error: ErrorReporter(on_error)(error, context)),
        store=SQLAlchemyMessageStore(Message, message_id, engine),
        when_busy=when_busy,
        on_ask=handler(person),
        deadlines=DEADLINES,
        observer=observer,
    )


def answer(asked, person):
    """What such a person answers to an ask, in the form of a row."""
    if asked["kind"] == "question" and person not in ("says no", "says no and why"):
        return Answer.choose(*([question["options"][0]["label"]] for question in asked["questions"]))
    replies = {"says no": Answer.reject(), "says no and why": Answer.reject("not today")}
    return replies.get(person, Answer.once())


def thought(ask_id):
    """How many seconds a person thinks about an ask: always as long about the same one."""
    return Random(ask_id).choice(THOUGHT)  # noqa: S311 - it is to be repeatable


def handler(person):
    """The `on_ask` of such a person's turns."""
    if person in ("is elsewhere", "is nobody"):
        return IN_THE_ROW if person == "is elsewhere" else None

    def handle(asked):
        time.sleep(thought(asked.id))
        return answer(asked.to_json(), person)

    return handle
