"""What is easily mixed up is refused where it is given, with what to give instead."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session as Database

from opencode_sessions import Answer, Deadlines, Observer, Pruner, Session, Turn, aio, allow, errors
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.turns.asks import IN_THE_ROW, Ask, send_answer
from opencode_sessions.wire.clients import Client


@pytest.fixture
def client():
    """Of no server: nothing here is to be asked of one."""
    with Client("http://127.0.0.1:1") as client:
        yield client


def session():
    return Session(MemoryRecord("x"))


class Index:
    """A table's."""

    table = "trips"


class Watch(Observer):
    """Sees nothing."""


SESSIONS = {
    "a message for a record": (
        lambda: Session(MemoryMessage("x")),
        "Session takes the record, .* not a .*MemoryMessage",
    ),
    "a message's store": (
        lambda: Session(None, store=MemoryMessageStore(MemoryMessage("x"))),
        "Session takes the record, .* not a .*MemoryMessageStore",
    ),
    "a class for its row": (
        lambda: Session(MemoryRecord),
        "record must be a row, .* not <class .*MemoryRecord",
    ),
    "a rule for rules": (
        lambda: Session(MemoryRecord(), permissions_for=allow("*")),
        "permission rules come in a list, and this is a single rule",
    ),
    "no namespace": (
        lambda: Session(MemoryRecord(), namespace=None),
        "namespace must be a text, not None",
    ),
    "a number for a period": (
        lambda: Pruner(Index(), grace=7),
        r"grace must be a timedelta, such as timedelta\(days=7\), not 7",
    ),
    "a number for a namespace": (lambda: Pruner(Index(), namespace=7), "namespace must be a text, not 7"),
}


@pytest.mark.parametrize("wrong", SESSIONS)
def test_a_session_or_a_pruner_says_what_it_was_to_get(wrong):
    make, says = SESSIONS[wrong]
    with pytest.raises(errors.ConfigurationError, match=says):
        make()


TURNS = {
    "the database's session": (
        {"session": Database},
        r"session must be .* not a sqlalchemy\.orm\.session\.Session",
    ),
    "the record": (
        {"session": MemoryRecord},
        "session must be the record's opencode_sessions.Session, not a ",
    ),
    "the session of the other API": (
        {"session": lambda: aio.Session(MemoryRecord())},
        "opencode_sessions.Session, not a .*AsyncSession",
    ),
    "a record for a message": (
        {"message": MemoryRecord},
        "Turn takes the message, .* not a .*MemoryRecord",
    ),
    "a class for its row": ({"message": lambda: MemoryMessage}, "message must be a row, .* not <class "),
    "a number for deadlines": ({"deadlines": lambda: 5}, "deadlines must be Deadlines, not 5"),
    "a name for IN_THE_ROW": (
        {"on_ask": lambda: "IN_THE_ROW"},
        "on_ask must be a function, .* not 'IN_THE_ROW'",
    ),
    "a number for an observer": ({"observer": lambda: 5}, "observer must be .* not 5"),
    "a class for an observer": (
        {"observer": lambda: Watch},
        "observer must be an object of a subclass of Observer",
    ),
}


@pytest.mark.parametrize("wrong", TURNS)
def test_a_turn_says_what_it_was_to_get(client, wrong):
    given, says = TURNS[wrong]
    arguments = {"message": lambda: MemoryMessage("x"), "session": session, **given}
    with pytest.raises(errors.ConfigurationError, match=says):
        Turn(client=client, **{name: make() for name, make in arguments.items()})


def test_a_turn_for_asyncio_wants_a_session_for_asyncio():
    with pytest.raises(errors.ConfigurationError, match=r"opencode_sessions\.aio\.Session, not a "):
        aio.Turn(MemoryMessage("x"), session(), aio.Client("http://127.0.0.1:1"))


def test_what_is_right_is_taken(client):
    options = {"observer": Watch(), "on_ask": IN_THE_ROW, "deadlines": Deadlines()}
    Turn(MemoryMessage("x"), session(), client, **options)
    Turn(MemoryMessage("x"), session(), client, on_ask=lambda _: None)
    Pruner(Index(), grace=timedelta(days=7))


@pytest.mark.parametrize(
    "ids", [{"source": None}, {"source": ""}, {"source": 5}, {"source": "ses_1", "before": ""}]
)
def test_what_is_no_id_cannot_be_forked(client, ids):
    with pytest.raises(errors.ConfigurationError, match="must be an id, which is a text, not "):
        session().fork(client, **ids)


@pytest.mark.parametrize("answer", ["once", True])
def test_an_ask_is_answered_with_an_answer(answer):
    ask = Ask(id="per_1", kind="permission", session_id="ses_1", permission="bash")
    with pytest.raises(errors.ConfigurationError, match=r"such as Answer\.once\(\), not ('once'|True)$"):
        run_sync(send_answer(None, ask, answer))


@pytest.mark.parametrize("labels", ["Apple", b"Apple", ["Apple", 1], None, {"Apple"}])
def test_a_choice_is_a_list_of_labels_and_no_text(labels):
    with pytest.raises(errors.ConfigurationError, match=r'write Answer\.choose\(\["Apple"\]\)'):
        Answer.choose(["Red"], labels)


def test_lists_and_tuples_of_labels_are_choices():
    assert Answer.choose(["Apple"], ("Red", "Green"), []).labels == (["Apple"], ("Red", "Green"), [])


DEADLINES = [field.name for field in dataclasses.fields(Deadlines)]


@pytest.mark.parametrize("name", DEADLINES)
@pytest.mark.parametrize("seconds", ["9", 0, -5, math.nan, -math.inf, True, timedelta(seconds=9)])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(name, seconds):
    with pytest.raises(
        errors.ConfigurationError, match=rf"Deadlines\.{name} must be a positive number of seconds"
    ):
        Deadlines(**{name: seconds})


@pytest.mark.parametrize("name", DEADLINES)
def test_no_limit_is_said_as_infinity_and_a_lease_and_a_look_have_an_end(name):
    if name in ("lease", "look"):
        with pytest.raises(errors.ConfigurationError, match=r"not inf, and have an end$"):
            Deadlines(**{name: math.inf})
    else:
        assert getattr(Deadlines(**{name: math.inf}), name) == math.inf


@pytest.mark.parametrize("client", [Client, aio.Client])
def test_a_clients_directory_is_an_absolute_path(client):
    with pytest.raises(
        errors.ConfigurationError, match=r"directory must be an absolute path .*, not 'trips/lisbon'"
    ):
        client("http://127.0.0.1:1", directory="trips/lisbon")
    assert client("http://127.0.0.1:1", directory=Path("/srv/trips")).directory == "/srv/trips"
