"""Errors of SQLAlchemy are logged and stored with the statement, but without the prompts and answers in it."""

from __future__ import annotations

import asyncio

import pytest
from host_models import Base, Conversation, Prompt
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from opencode_sessions.cli.database import Database
from opencode_sessions.reporting import ErrorContext, ErrorReporter
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sqlalchemy import SQLAlchemyMessageStore, SQLAlchemyTurnTable
from opencode_sessions.store.messages import MessageState

SECRET = "the patient is Ada"
STATE = MessageState("", content=SECRET, asks=[{"id": SECRET}], parts=[{"id": SECRET}])


@pytest.fixture
def path(tmp_path):
    """The database of a host whose table of messages is gone."""
    path = tmp_path / "host.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {Prompt.__tablename__}"))
    engine.dispose()
    return path


@pytest.fixture
def logged(caplog):
    """What is logged of an error, with its traceback."""

    def log(error):
        ErrorReporter(None)(error, ErrorContext("snapshot", "messages:1"))
        return caplog.text

    return log


def tells_the_statement_alone(told, verb):
    assert SECRET not in told
    assert f"{verb} {Prompt.__tablename__}" in told


def test_an_answer_that_a_blocking_engine_cannot_store_is_not_logged(path, logged):
    engine = create_engine(f"sqlite:///{path}")
    with pytest.raises(DBAPIError) as caught:
        run_sync(SQLAlchemyMessageStore(Prompt, 1, engine).snapshot(1, STATE, 10))
    engine.dispose()
    tells_the_statement_alone(logged(caught.value), "UPDATE")


def test_an_answer_that_an_async_engine_cannot_store_is_not_logged(path, logged):
    async def store():
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        try:
            await SQLAlchemyMessageStore(Prompt, 1, engine).snapshot(1, STATE, 10)
        finally:
            await engine.dispose()

    with pytest.raises(DBAPIError) as caught:
        asyncio.run(store())
    tells_the_statement_alone(logged(caught.value), "UPDATE")


def test_a_prompt_that_cannot_be_enqueued_in_a_session_is_not_logged(path, logged):
    engine = create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        session.add(record := Conversation(title="t"))
        session.flush()
        session.add(message := Prompt(conversation=record, prompt=SECRET))
        with pytest.raises(DBAPIError) as caught:
            run_sync(SQLAlchemyTurnTable(Prompt, engine).reserve(message, 60))
    engine.dispose()
    tells_the_statement_alone(logged(caught.value), "INSERT INTO")


def test_a_prompt_that_cannot_be_enqueued_in_an_async_session_is_not_logged(path, logged):
    async def enqueue():
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        try:
            async with AsyncSession(engine) as session:
                session.add(record := Conversation(title="t"))
                await session.flush()
                session.add(message := Prompt(conversation=record, prompt=SECRET))
                await SQLAlchemyTurnTable(Prompt, engine).reserve(message, 60)
        finally:
            await engine.dispose()

    with pytest.raises(DBAPIError) as caught:
        asyncio.run(enqueue())
    tells_the_statement_alone(logged(caught.value), "INSERT INTO")


def test_a_prompt_that_the_command_line_cannot_store_is_not_in_the_error(tmp_path, logged):
    with Database(f"sqlite:///{tmp_path}/chat.sqlite3") as database:
        conversation = database.conversation("trip")
        with database.engine.begin() as connection:
            connection.execute(text("DROP TABLE opencode_messages"))
        with pytest.raises(DBAPIError) as caught:
            database.add_message(conversation, SECRET)
    told = logged(caught.value)
    assert SECRET not in told
    assert "INSERT INTO opencode_messages" in told
