"""A turn that waits for a person is parked, and goes on when it is run after the answer: on the real server."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress

import pytest
from fix_cli import eventually

from opencode_sessions import (
    IN_THE_ROW,
    Answer,
    Client,
    Deadlines,
    Observer,
    Session,
    Turn,
    aio,
    allow,
    ask,
    errors,
)
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns import parking
from opencode_sessions.turns.follower import EventFollower

BASH = '!tool bash {"command": "touch ran", "description": "run"}\n!say done'


class Queue:
    """What it is told to run."""

    def __init__(self):
        self.told = []

    async def put(self):
        self.told.append("this")

    async def put_next(self):
        self.told.append("next")


class Told(Observer):
    def __init__(self):
        self.answered_for = []

    def answered(self, ask):
        self.answered_for.append(ask.id)


@pytest.fixture
def record():
    return MemoryRecord("A turn that is parked")


def rules(_):
    return [allow("*"), ask("bash", "touch*")]


def turn_of(message, record, client, **options):
    session = Session(record, permissions_for=rules, on_error=lambda *_: None)
    return Turn(message, session, client, **{"on_ask": IN_THE_ROW, **options})


def parked(message, record, client, **options):
    """The id of what it asks, when it is parked."""
    with pytest.raises(errors.TurnParkedError, match="is parked: it waits for a person"):
        turn_of(message, record, client, **options).run(park=True)
    return message.state.asks[0]["id"]


def prompts(record, client):
    return [each.info.id for each in client.messages(record.opencode_session_id) if each.info.role == "user"]


def test_nothing_runs_while_a_person_is_waited_for_and_the_answer_brings_the_turn_to_its_end(
    place, record, tmp_path
):
    message, queue, told = MemoryMessage(BASH), Queue(), Told()
    ask_id = parked(message, record, place, queue=queue)
    assert (message.state.status, message.state.parked, message.state.abandoned) == ("streaming", True, False)
    assert len(place._core._events._router) == 0  # nobody listens
    with pytest.raises(errors.TurnInProgressError):
        turn_of(MemoryMessage("hello"), record, place).run()  # the record is the parked turn's
    assert queue.told == []
    turn_of(message, record, place, queue=queue, observer=told).answer(ask_id, Answer.once())
    assert (queue.told, told.answered_for, message.state.asks) == (["this"], [ask_id], ())
    result = turn_of(message, record, place, queue=queue).run(park=True)
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert (tmp_path / "ran").exists()
    assert (len(prompts(record, place)), queue.told) == (1, ["this", "next"])


def test_an_ask_that_a_look_has_found_is_parked_with_all_that_came_before_it(
    place, record, held, monkeypatch
):
    said, busy, looks = "one two three four five six", EventFollower._busy, []

    async def go_on_meanwhile(follower):
        if "four" in follower.reply.text and not looks:
            looks.append("the messages are read, and what is asked is not")
            held.set()
            while not await follower._wire.pending_asks(follower.reply.session_id):
                time.sleep(0.05)  # noqa: ASYNC251 - the turn blocks
            time.sleep(0.5)  # noqa: ASYNC251 - until its events are here, too
        return await busy(follower)

    monkeypatch.setattr(EventFollower, "_busy", go_on_meanwhile)
    message = MemoryMessage(f"!say {said}\n{BASH}")
    parked(message, record, place, deadlines=Deadlines(look=0.5))
    assert looks
    assert message.state.content.strip() == said
    assert [part["type"] for part in message.state.parts] == ["text", "tool"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_nothing_is_left_of_a_parked_turn_before_garbage_is_collected(
    server, place, record, tmp_path, asynchronous
):
    """Whoever watches it here would otherwise be shown this runner's answer, while another one goes on with it."""
    replies, message = [], MemoryMessage(BASH)

    class Watching(Observer):
        def changed(self, change, reply):
            replies.append(weakref.ref(reply))

    async def main():
        async with aio.Client(server.url, password=server.password, directory=str(tmp_path)) as client:
            session = aio.Session(record, permissions_for=rules)
            turn = aio.Turn(message, session, client, on_ask=IN_THE_ROW, observer=Watching())
            with suppress(errors.TurnParkedError):
                await turn.run(park=True)
            del turn
            return {reply() for reply in replies}

    gc.collect()
    gc.disable()
    try:
        if asynchronous:
            left = asyncio.run(main())
        else:
            with suppress(errors.TurnParkedError):
                turn_of(message, record, place, observer=Watching()).run(park=True)
            left = {reply() for reply in replies}
    finally:
        gc.enable()
    assert message.state.parked
    assert (len(replies) > 0, left) == (True, {None})


def test_the_same_for_asyncio(server, record, tmp_path):
    async def main():
        message, queue = MemoryMessage(BASH), Queue()
        async with aio.Client(server.url, password=server.password, directory=str(tmp_path)) as client:
            session = aio.Session(record, permissions_for=rules)
            turn = aio.Turn(message, session, client, on_ask=IN_THE_ROW, queue=queue)
            with pytest.raises(errors.TurnParkedError):
                await turn.run(park=True)
            await turn.answer(message.state.asks[0]["id"], Answer.once())
            result = await turn.run(park=True)
        return result.content, queue.told

    assert asyncio.run(main()) == ("done", ["this", "next"])


def test_a_quick_answer_parks_nothing(place, record, monkeypatch):
    monkeypatch.setattr(parking, "QUIET", 60)  # so that on no machine the answer is a slow one
    message, queue = MemoryMessage(BASH), Queue()

    class Quick(Observer):
        def asked(self, ask):
            place._core.clock.spawn(lambda: answer(ask), "a person")

    async def answer(ask):
        eventually(lambda: message.state.asks)
        turn_of(message, record, place, queue=queue).answer(ask.id, Answer.once())

    result = turn_of(message, record, place, observer=Quick(), queue=queue).run(park=True)
    assert (result.content, queue.told) == ("done", ["next"])


def test_a_turn_whose_other_tool_works_is_parked_when_that_has_ended(place, record, tmp_path):
    both = (
        '!tool bash {"command": "touch ran", "description": "run"}\n'
        '!and bash {"command": "sleep 5", "description": "wait"}\n!say done'
    )
    message = MemoryMessage(both)
    parked(message, record, place)
    tools = {
        part["input"]["command"]: part["status"] for part in message.state.parts if part["type"] == "tool"
    }
    assert tools == {"touch ran": "running", "sleep 5": "completed"}


def test_a_turn_that_nobody_parks_waits_and_so_does_one_whose_handler_thinks(place, record):
    message = MemoryMessage(BASH)

    def slowly(_):
        time.sleep(parking.QUIET + 1)
        return Answer.once()

    assert turn_of(message, record, place, on_ask=slowly).run(park=True).content == "done"
    other, results = MemoryMessage(BASH), []
    turn = turn_of(other, record, place)
    runner = threading.Thread(target=lambda: results.append(turn.run().content))
    runner.start()
    ask_id = eventually(lambda: other.state.asks)[0]["id"]
    time.sleep(parking.QUIET + 1)
    assert not other.state.parked
    turn_of(other, record, place).answer(ask_id, Answer.once())
    runner.join(60)
    assert results == ["done"]


@pytest.mark.full
def test_a_person_who_does_not_answer_in_time_is_not_waited_for_any_longer(place, record):
    message, limits = MemoryMessage(BASH), Deadlines(person=6.0)
    parked(message, record, place, deadlines=limits)
    eventually(lambda: message.state.abandoned)
    result = turn_of(message, record, place, deadlines=limits).run(park=True)
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "done")
    assert "Nobody has answered this in time" in result.tools[0]["error"]
    assert len(prompts(record, place)) == 1


def test_an_answer_in_the_instant_in_which_the_turn_is_parked_is_not_missed(place, record):
    message, queue = MemoryMessage(BASH), Queue()

    class Parks(MemoryMessageStore):
        async def park(self, epoch, lease):
            (waiting,) = message.state.asks
            turn_of(message, record, place).answer(waiting["id"], Answer.once())
            return await super().park(epoch, lease)

    parked_or_answered = turn_of(message, record, place, store=Parks(message), queue=queue)
    with pytest.raises(errors.TurnParkedError):
        parked_or_answered.run(park=True)
    assert queue.told == ["this"]
    assert turn_of(message, record, place).run(park=True).content == "done"


def test_who_answers_while_the_turn_is_being_parked_sees_it(place, record):
    message, queue, limits = MemoryMessage(BASH), Queue(), Deadlines(lease=60)
    ask_id = parked(message, record, place)
    message.row["opencode_turn_parked"] = False  # as it was read just before

    class Reads(MemoryMessageStore):
        async def load(self):
            row = await super().load()
            message.row["opencode_turn_parked"] = True
            return row

    turn = turn_of(message, record, place, store=Reads(message), queue=queue, deadlines=limits)
    turn.answer(ask_id, Answer.once())
    assert queue.told == ["this"]


def test_a_parked_turn_is_cancelled_from_anywhere_and_its_agent_asks_no_more(place, record, tmp_path):
    message, queue = MemoryMessage(BASH), Queue()
    ask_id = parked(message, record, place)
    assert turn_of(message, record, place, queue=queue).cancel(by="ada")
    assert (message.state.status, message.state.asks, queue.told) == ("cancelled", (), ["next"])
    with pytest.raises(errors.AskAnsweredError):
        turn_of(message, record, place).answer(ask_id, Answer.once())
    assert turn_of(MemoryMessage("hello"), record, place).run().content.startswith('You said: "hello".')
    assert not (tmp_path / "ran").exists()


def test_an_answer_that_cannot_be_delivered_leaves_the_turn_parked(place, record):
    message, queue = MemoryMessage(BASH), Queue()
    ask_id = parked(message, record, place)
    with Client("http://127.0.0.1:9") as away, pytest.raises(errors.ServerUnreachableError):
        turn_of(message, record, away, queue=queue, deadlines=Deadlines(lease=1)).answer(
            ask_id, Answer.once()
        )
    time.sleep(1.1)
    state = message.state
    assert (state.parked, state.abandoned, len(state.asks), queue.told) == (True, False, 1, [])
    turn_of(message, record, place).answer(ask_id, Answer.once())
    assert turn_of(message, record, place).run(park=True).content == "done"


@pytest.mark.full
def test_a_parked_turn_whose_server_died_goes_on_as_after_any_crash(own_server, record, tmp_path):
    server, message, queue = own_server(), MemoryMessage(BASH), Queue()
    with Client(server.url, password=server.password, directory=str(tmp_path)) as client:
        ask_id = parked(message, record, client)
        server.kill()
        server.restart()
        with pytest.raises(errors.AskAnsweredError):
            turn_of(message, record, client, queue=queue).answer(ask_id, Answer.once())
        assert queue.told == ["this"]
        assert turn_of(message, record, client).run(park=True).content == "done"
        assert len(prompts(record, client)) == 1


def test_the_record_of_a_message_that_was_deleted_while_its_turn_was_parked_is_free(place, record):
    message = MemoryMessage(BASH)
    parked(message, record, place)

    class Gone(MemoryMessageStore):
        """Finds no row of the other one."""

        def sibling(self, key):
            return Gone(message)

        async def load(self):
            if self._message is message:
                raise errors.RecordGoneError("it was deleted", record=self.key)
            return await super().load()

    other = MemoryMessage("hello")
    turn = turn_of(other, record, place, store=Gone(other), when_busy="wait", deadlines=Deadlines(queue=30))
    assert turn.run().content.startswith('You said: "hello".')
