"""A run of a turn is told of from its first event to its last, whatever ends it: on the real server."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

import pytest
from fix_cli import eventually

from opencode_sessions import (
    IN_THE_ROW,
    Answer,
    Client,
    Session,
    Turn,
    TurnDropped,
    TurnFinished,
    TurnFound,
    TurnLeft,
    TurnTaken,
    allow,
    ask,
    errors,
)
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.wire.address import Timeouts

ASKING = '!tool bash {"command": "true", "description": "nothing"}\n!say done'
HELD = "!say one two three four five six"
RUN = (TurnFound, TurnTaken, TurnFinished, TurnLeft, TurnDropped)


class Diary:
    """The events about runs."""

    def __init__(self):
        self.told = []

    def __call__(self, event):
        if isinstance(event, RUN):
            self.told.append(event)

    @property
    def story(self):
        """Each by its name, or by why the run was left."""
        return [getattr(each, "reason", type(each).__name__) for each in self.told]


@pytest.fixture
def record():
    return MemoryRecord("Runs")


@pytest.fixture
def diary():
    return Diary()


def turn_of(message, record, client, **options):
    session = Session(record, permissions_for=lambda _: [allow("*"), ask("bash")])
    return Turn(message, session, client, **options)


def test_a_run_that_is_parked_is_left_and_the_next_one_is_told_its_number(
    client, record, diary, parks_soon, caplog
):
    caplog.set_level(logging.INFO, "opencode_sessions.turn")
    message = MemoryMessage(ASKING)
    turn = turn_of(message, record, client, on_ask=IN_THE_ROW, observer=diary)
    with pytest.raises(errors.TurnParkedError):
        turn.run(park=True)
    assert diary.story == ["TurnFound", "TurnTaken", "parked"]
    (logged,) = (each for each in caplog.records if getattr(each, "event", None) == "left")
    assert (logged.reason, logged.message_key) == ("parked", diary.told[0].key)
    turn.answer(message.state.asks[0]["id"], Answer.once())
    assert turn.run(park=True).content == "done"
    assert diary.story[3:] == ["TurnFound", "TurnFound", "TurnTaken", "TurnFinished"], (
        "the answer reads the row, too"
    )
    assert [each.run for each in diary.told if isinstance(each, TurnTaken)] == [1, 2]
    found = diary.told[0]
    assert (found.prompt, found.record, found.started_at) == (ASKING, turn._spec.lifecycle.store.key, None)
    assert diary.told[4].started_at is not None


@pytest.mark.parametrize("reason", ["released", "superseded"])
def test_a_run_that_others_end_is_left(client, record, diary, held, reason):
    message = MemoryMessage(HELD)
    turn = turn_of(message, record, client, observer=diary)

    def run():
        with suppress(errors.TurnReleasedError, errors.TurnTakenError):
            turn.run()

    runner = threading.Thread(target=run)
    runner.start()
    eventually(lambda: message.state.content)
    if reason == "released":
        turn.release()
    else:
        message.row["opencode_turn_epoch"] += 1
        message.row["opencode_turn_lease"] = None
    held.set()
    runner.join(60)
    assert diary.story == ["TurnFound", "TurnTaken", reason], diary.told[-1].error
    assert turn_of(message, record, client).run().content == "one two three four five six"


def test_a_run_that_cannot_begin_is_left_with_its_error(record, diary):
    message = MemoryMessage("hello")
    with Client("http://127.0.0.1:1", timeouts=Timeouts(connect=1)) as nowhere:
        with pytest.raises(errors.ServerUnreachableError) as raised:
            turn_of(message, record, nowhere, observer=diary).run()
    assert diary.story == ["TurnFound", "TurnTaken", "error"]
    assert diary.told[-1].error is raised.value
    assert message.state.status == "pending"


def test_a_turn_that_is_cancelled_while_nobody_runs_it_is_dropped(client, record, diary):
    message = MemoryMessage("never")
    assert turn_of(message, record, client, observer=diary).cancel(by="ada")
    assert diary.story == ["TurnFound", "TurnDropped"]
    assert (diary.told[-1].result.status, diary.told[-1].result.error["by"]) == ("cancelled", "ada")
