"""What an agent asks when its turn's runner dies is minded by the one who takes the turn up: on the real server."""

from __future__ import annotations

import json
import threading
import time

import pytest
from fix_cli import eventually
from selection import sample

from opencode_sessions import (
    IN_THE_ROW,
    Answer,
    Deadlines,
    Observer,
    Session,
    Turn,
    allow,
    ask,
    errors,
)
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.driver import TurnDriver

BASH = '!tool bash {"command": "touch ran", "description": "run"}\n!say done'
SLEEPING = '!tool bash {"command": "sleep 4; touch ran", "description": "run"}\n!say done'
QUESTION = (
    "!tool question "
    + json.dumps(
        {
            "questions": [
                {
                    "question": question,
                    "header": "Goal",
                    "options": [{"label": "Rome", "description": "south"}],
                }
                for question in ("Where to?", "And then?")
            ]
        }
    )
    + "\n!say done"
)
NOBODY = "Nobody is there to answer this"


class Died(BaseException):
    """What a runner that is killed never gets to handle."""


class Mortal(MemoryMessageStore):
    """Its runner dies when it has stored what the agent asks."""

    async def snapshot(self, epoch, state, lease):
        stored = await super().snapshot(epoch, state, lease)
        if state.asks:
            raise Died
        return stored


class Told(Observer):
    def __init__(self):
        self.asked_for, self.answered_for = [], []

    def asked(self, ask):
        self.asked_for.append(ask.id)

    def answered(self, ask):
        self.answered_for.append(ask.id)


class Breaking:
    """A wire on which some calls fail."""

    def __init__(self, client, name, error):
        self._core, self._name, self._error = client._core, name, error

    def __getattr__(self, name):
        if name != self._name:
            return getattr(self._core, name)

        async def fail(*_, **__):
            raise self._error

        return fail


@pytest.fixture
def record():
    return MemoryRecord("A turn that asks")


def turn_of(message, record, client, on_error=lambda *_: None, **options):
    session = Session(record, permissions_for=lambda _: [allow("*"), ask("bash")], on_error=on_error)
    return Turn(message, session, client, **options)


@pytest.fixture
def die(record, place, monkeypatch):
    """Run the turn of a message, and die as SIGKILL would have it when its ask is in the row; what waits there."""
    forgotten = threading.Event()

    async def nothing(*_):
        pass

    def forgetful(_):
        forgotten.wait()

    def run(message, *, on_ask=forgetful, wire=place._core):
        monkeypatch.setattr("opencode_sessions.turns.execution.TurnExecution._leave", nothing)
        monkeypatch.setattr("opencode_sessions.turns.claim.RecordLock.release", nothing)
        limits = Deadlines(lease=0.3)
        turn = turn_of(message, record, place, store=Mortal(message), on_ask=on_ask, deadlines=limits)
        with pytest.raises(Died):
            TurnDriver.run(turn._core, wire).send(None)
        monkeypatch.undo()
        eventually(lambda: message.state.abandoned)
        (waiting,) = message.state.asks
        return waiting

    yield run
    forgotten.set()


def running(turn):
    results = []
    thread = threading.Thread(target=lambda: results.append(turn.run()), daemon=True)
    thread.start()
    return thread, results


def test_the_next_runners_handler_is_asked_once_with_the_age_that_it_has(place, record, die, tmp_path):
    message, asked, told = MemoryMessage(BASH), [], Told()
    waiting = die(message)

    def handler(ask):
        asked.append((ask.id, ask.asked_at))
        time.sleep(1.2)  # in which the state is read more than once
        return Answer.once()

    deadlines = Deadlines(look=0.3, silence=20, total=30)
    result = turn_of(message, record, place, on_ask=handler, observer=told, deadlines=deadlines).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert (tmp_path / "ran").exists()
    assert asked == [(waiting["id"], waiting["asked_at"])]
    assert told.asked_for == told.answered_for == [waiting["id"]]


@pytest.mark.parametrize("prompt", sample([BASH, QUESTION]), ids=["permission", "question"])
def test_with_nobody_there_any_more_it_is_refused_and_the_agent_goes_on(place, record, die, prompt):
    message = MemoryMessage(prompt)
    die(message)
    result = turn_of(message, record, place, deadlines=Deadlines(silence=20)).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    tool = result.tools[0]
    assert NOBODY in (tool.get("error") or tool["output"])


def test_a_refusal_that_its_runner_could_not_deliver_is_delivered_by_the_next(place, record, die):
    message = MemoryMessage(BASH)
    lost = errors.ConnectionLostError("lost on the way")
    die(message, on_ask=None, wire=Breaking(place, "answer_permission", lost))
    result = turn_of(message, record, place, deadlines=Deadlines(silence=20)).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert NOBODY in result.tools[0]["error"]


def test_what_is_left_in_the_row_stays_there_until_somebody_answers(place, record, die, tmp_path):
    message, told = MemoryMessage(BASH), Told()
    waiting = die(message, on_ask=IN_THE_ROW)
    turn = turn_of(message, record, place, on_ask=IN_THE_ROW, observer=told, deadlines=Deadlines(look=0.3))
    thread, results = running(turn)
    eventually(lambda: told.asked_for)
    assert [dict(each) for each in message.state.asks] == [waiting]
    turn_of(message, record, place).answer(waiting["id"], Answer.once())
    thread.join(60)
    assert results[0].content == "done"
    assert (tmp_path / "ran").exists()


def test_a_person_has_as_long_as_without_the_death(place, record, die):
    message = MemoryMessage(BASH)
    waiting = die(message, on_ask=IN_THE_ROW)
    message.row["asks"] = [{**waiting, "asked_at": "2026-01-01T00:00:00+00:00"}]
    deadlines = Deadlines(person=3600.0)
    result = turn_of(message, record, place, on_ask=IN_THE_ROW, deadlines=deadlines).run()
    assert "in time" in result.tools[0]["error"]


@pytest.mark.full
def test_an_answer_that_came_before_the_next_runner_stands(place, record, die, tmp_path):
    message, asked, told = MemoryMessage(SLEEPING), [], Told()
    waiting = die(message)
    turn_of(message, record, place).answer(waiting["id"], Answer.once())
    turn = turn_of(message, record, place, on_ask=asked.append, observer=told, deadlines=Deadlines(look=0.3))
    thread, results = running(turn)
    thread.join(60)
    assert (results[0].status, results[0].content) == (TurnStatus.COMPLETED, "done")
    assert (tmp_path / "ran").exists()
    assert asked == told.asked_for == []


@pytest.mark.full
def test_where_the_server_cannot_list_what_waits_the_row_is_believed_and_that_is_told_once(
    place, record, die, tmp_path
):
    message, told = MemoryMessage(BASH), []
    die(message)
    unlisted = Breaking(place, "pending_asks", errors.BadRequestError("cannot be written as JSON"))

    def slowly(_):
        time.sleep(1.2)  # in which the state is read more than once
        return Answer.once()

    turn = turn_of(
        message,
        record,
        place,
        lambda _, context: told.append(context.action),
        on_ask=slowly,
        deadlines=Deadlines(silence=20, look=0.3),
    )
    assert run_sync(TurnDriver.run(turn._core, unlisted)).content == "done"
    assert (tmp_path / "ran").exists()
    assert told == ["list_asks"]
