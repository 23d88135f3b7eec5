"""The migration of docs/existing-tables.md, with Alembic: old rows stay, and the columns are those of the models."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fix_docs import page
from selection import sample
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import Session as Database

from opencode_sessions.cli.database import turn_tables, turns_in
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin

MIGRATION = re.search(
    r"^```python migrations/versions/agents.py\n(.*?)^```$",
    page("existing-tables.md"),
    re.DOTALL | re.MULTILINE,
)[1]


class Base(DeclarativeBase): ...


class Conversation(RecordMixin, Base):
    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(40))


class Message(MessageMixin, Base):
    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(sa.ForeignKey(Conversation.id))
    question: Mapped[str] = mapped_column(sa.String(40))
    answer: Mapped[str] = mapped_column(sa.String(40))


OLD = sa.MetaData()
sa.Table(
    "conversations",
    OLD,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(40), nullable=False),
)
sa.Table(
    "messages",
    OLD,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("conversation_id", sa.ForeignKey("conversations.id"), nullable=False),
    sa.Column("question", sa.String(40), nullable=False),
    sa.Column("answer", sa.String(40), nullable=False),
)


@pytest.fixture
def engine(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/old.sqlite3"
    else:
        server = request.getfixturevalue(request.param)
        url = server.url("psycopg" if request.param == "postgres" else "pymysql", server.create_database())
    made = sa.create_engine(url)
    yield made
    made.dispose()


@pytest.mark.parametrize("engine", sample(["sqlite", "postgres", "mariadb"]), indirect=True)
def test_old_rows_are_completed_turns_and_the_columns_are_those_of_the_models(engine):
    OLD.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(OLD.tables["conversations"]).values(title="Lisbon"))
        row = {"conversation_id": 1, "question": "Where?", "answer": "There."}
        connection.execute(sa.insert(OLD.tables["messages"]).values(row))
    script = {}
    exec(compile(MIGRATION, "agents.py", "exec"), script)  # noqa: S102 - of our own page
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        script["upgrade"]()
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert [each for each in differences if each[0] != "remove_index"] == []
    with Database(engine) as rows, rows.begin():
        rows.add(Message(conversation_id=1, prompt="And now?", question="", answer=""))
        old = rows.get_one(Message, 1)
        assert (old.prompt, old.content, old.status, old.parts, old.asks) == (
            "Where?",
            "There.",
            "completed",
            [],
            [],
        )
        assert (rows.get_one(Conversation, 1).opencode_session_id, old.opencode_turn_parked) == (None, False)
    [table] = turn_tables(engine)
    assert turns_in(engine, table) == "2 turns"
