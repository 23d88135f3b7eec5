"""SQLModel's classes: a model without a prompt of its own is refused, and one with it runs turns."""

from __future__ import annotations

import pytest
from sqlalchemy import Text
from sqlmodel import Field, Session, SQLModel, create_engine

from opencode_sessions import ConfigurationError, Turn
from opencode_sessions import Session as OpencodeSession
from opencode_sessions.sqlalchemy import MessageMixin, RecordMixin


class Journey(SQLModel, RecordMixin, table=True):
    id: int | None = Field(default=None, primary_key=True)
    title: str


with pytest.warns(UserWarning, match='"prompt" in "Request" shadows an attribute'):

    class Request(SQLModel, MessageMixin, table=True):
        id: int | None = Field(default=None, primary_key=True)
        journey_id: int = Field(foreign_key="journey.id")
        prompt: str = Field(sa_type=Text)


def test_a_message_that_would_drop_its_prompt_is_refused_when_it_is_defined():
    with pytest.raises(
        ConfigurationError, match=r"declare the prompt in Silent once more, as prompt: str = Field"
    ):

        class Silent(SQLModel, MessageMixin, table=True):
            id: int | None = Field(default=None, primary_key=True)


def test_a_turn_runs_on_its_rows(client, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'journeys.sqlite3'}")
    tables = [Journey.__table__, Request.__table__]
    SQLModel.metadata.create_all(engine, tables=tables)
    with Session(engine) as db:
        journey = Journey(title="Rome")
        db.add(journey)
        db.commit()
        message = Request(prompt="hello", journey_id=journey.id)
        db.add(message)
        db.commit()
        result = Turn(message, OpencodeSession(journey), client).run()
        assert (message.status, message.content) == ("completed", result.content)
        assert client.get(journey.opencode_session_id).title == "Rome"
        assert not db.dirty
    engine.dispose()
