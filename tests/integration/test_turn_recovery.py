"""A turn is taken up where another runner left it, and its prompt is sent only when it must be: on the real server."""

from __future__ import annotations

import threading

import pytest
from fix_cli import eventually
from selection import sample
from wires import InTwoRequests

from opencode_sessions import (
    Client,
    Deadlines,
    Observer,
    Session,
    Timeouts,
    Turn,
    allow,
    errors,
    new_message_id,
)
from opencode_sessions.protocol.events import SessionFailed
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.driver import TurnDriver
from opencode_sessions.turns.exchange import is_newest
from opencode_sessions.turns.follower import EventFollower

SLOW = "!slow 0.15\n!say one two three four five six seven eight nine ten"
ENDLESS = "!slow 600\n!say x"
SAID = "one two three four five six seven eight nine ten"


@pytest.fixture
def record():
    return MemoryRecord("A turn that is taken up")


def turn_of(message, record, client, **options):
    session = Session(record, permissions_for=lambda _: [allow("*")])
    return Turn(message, session, client, **options)


class Died(BaseException):
    """What a runner that is killed never gets to handle."""


class Dying(InTwoRequests):
    """A wire that lets its runner die before or after a call, the nth of its name."""

    def __init__(self, client, name, *, after, nth=1):
        self._core, self._name, self._after, self._left = client._core, name, after, nth

    def __getattr__(self, name):
        attribute = getattr(self._core, name)
        if name != self._name:
            return attribute

        async def call(*args, **kwargs):
            self._left -= 1
            if self._left:
                return await attribute(*args, **kwargs)
            if self._after:
                await attribute(*args, **kwargs)
            raise Died

        return call


def die_over(message, record, client, name, monkeypatch, **how):
    """Run the turn, and die in it as SIGKILL would have it: nothing is tidied up."""
    monkeypatch.setattr("opencode_sessions.turns.execution.TurnExecution._leave", _nothing)
    monkeypatch.setattr("opencode_sessions.turns.claim.RecordLock.release", _nothing)
    driver = turn_of(message, record, client, deadlines=Deadlines(lease=0.3))._core
    with pytest.raises(Died):
        TurnDriver.run(driver, Dying(client, name, **how)).send(None)
    monkeypatch.undo()
    eventually(lambda: message.state.abandoned)


async def _nothing(*_):
    pass


def user_messages(client, session_id):
    return [message for message in client.messages(session_id) if message.info.role == "user"]


@pytest.mark.lines
def test_a_turn_that_was_answered_ends_though_a_newer_prompt_keeps_its_session_busy(client, record):
    message, newer = MemoryMessage("hello"), new_message_id()
    answered = turn_of(message, record, client).run()
    message.row["status"] = "streaming"
    client.prompt(answered.session_id, ENDLESS, message_id=newer)
    eventually(lambda: is_at_work(client, answered.session_id, newer))
    result = turn_of(message, record, client, deadlines=Deadlines(total=60)).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, 'You said: "hello".')
    assert client.busy(answered.session_id)
    client.stop(answered.session_id)


def is_at_work(client, session_id, prompt_id):
    stored = [message.info.id for message in user_messages(client, session_id)]
    return prompt_id in stored and client.busy(session_id)


DEATHS = [
    ("create", False),
    ("create", True),
    ("update", True),
    ("subscribe", False),
    ("subscribe", True),
    ("prompt", False),
    ("prompt", True),
    ("messages", False),
]


@pytest.mark.parametrize(
    "death",
    sample(DEATHS, ("create", True), ("prompt", False), ("prompt", True)),
    ids=[f"{'after' if a else 'before'} {n}" for n, a in DEATHS],
)
def test_a_runner_that_died_is_replaced_and_there_is_one_prompt_and_one_answer(
    client, record, monkeypatch, death
):
    name, after = death
    message = MemoryMessage(SLOW)
    if name == "messages":  # a generator of pages: its runner dies as it asks for the first
        monkeypatch.setattr("opencode_sessions.turns.follower.read_exchange", _die)
        die_over(message, record, client, "nothing", monkeypatch, after=False)
    else:
        die_over(message, record, client, name, monkeypatch, after=after)
    result = turn_of(message, record, client).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, SAID)
    assert [each.info.id for each in user_messages(client, result.session_id)] == [result.prompt_id]
    assert message.state.content == SAID
    answers = [each for each in client.messages(result.session_id) if each.info.role == "assistant"]
    assert len(answers) == 1  # the model was asked once


async def _die(*_, **__):
    raise Died


def test_a_turn_that_was_answered_meanwhile_is_read_and_nothing_is_sent(client, record, carried, monkeypatch):
    message = MemoryMessage("quick")
    die_over(message, record, client, "prompt", monkeypatch, after=True)
    session_id = message.state.session_id
    eventually(lambda: any(each.info.completed for each in client.messages(session_id)))
    eventually(lambda: not client.busy(session_id))
    carried.clear()
    seen = []

    class Watching(Observer):
        def started(self, session_id, prompt_id):
            seen.append("started")

        def recovered(self, session_id, prompt_id):
            seen.append("recovered")

    result = turn_of(message, record, client, observer=Watching()).run()
    assert result.content == 'You said: "quick".'
    assert seen == ["recovered"]
    assert not any("prompt_async" in request for request in carried)


@pytest.mark.full
def test_what_was_overtaken_by_another_prompt_is_not_sent_again(own_server, record, monkeypatch):
    server = own_server()
    with Client(server.url, password=server.password) as client:
        message = MemoryMessage(ENDLESS)
        die_over(message, record, client, "prompt", monkeypatch, after=True)
        eventually(lambda: user_messages(client, message.state.session_id))
        server.kill()
        server.restart()
        assert turn_of(MemoryMessage("another"), record, client).run().status is TurnStatus.COMPLETED
        result = turn_of(message, record, client).run()
        assert (result.status, result.error["name"]) == (TurnStatus.FAILED, "Overtaken")
        assert len(user_messages(client, result.session_id)) == 2


@pytest.mark.full
def test_a_server_that_goes_away_once_more_before_the_prompt_is_sent_again_does_not_fail_the_turn(
    own_server, record, monkeypatch, held
):
    server = own_server()
    looks = []

    async def is_newest_now(*ids):
        looks.append(ids)
        if len(looks) == 1:
            raise errors.ConnectionLostError("gone once more")
        return await is_newest(*ids)

    monkeypatch.setattr("opencode_sessions.turns.execution.is_newest", is_newest_now)
    with Client(server.url, password=server.password) as client:
        message = MemoryMessage(SLOW)
        results = []
        deadlines = Deadlines(look=0.5)
        runner = threading.Thread(
            target=lambda: results.append(turn_of(message, record, client, deadlines=deadlines).run())
        )
        runner.start()
        eventually(lambda: message.state.content)
        # What is asked of a server that is still starting can hang.
        client._core._transport.timeouts = Timeouts(read=3.0)
        server.kill()
        held.set()
        server.restart()
        runner.join(60)
        assert results[0].error is None
        assert (results[0].status, results[0].content) == (TurnStatus.COMPLETED, SAID)
        assert len(looks) >= 2  # one more for each time that a slow server has not begun yet
        assert len(user_messages(client, results[0].session_id)) == 1


@pytest.mark.full
def test_an_error_that_is_told_late_of_the_turn_before_does_not_fail_this_one(client, record, monkeypatch):
    sent = []

    class Losing:
        """A line that loses the first prompt."""

        def __getattr__(self, name):
            return getattr(client._core, name)

        async def prompt(self, *args, **kwargs):
            sent.append(kwargs["message_id"])
            if len(sent) == 1:
                raise errors.ConnectionLostError("lost on the way")
            await client._core.prompt(*args, **kwargs)

    async def follow(self, events, store):
        late = SessionFailed(session_id=self.reply.session_id, error={"name": "APIError"})
        over = await self._take(late) if len(sent) == 1 else None
        return over or await followed(self, events, store)

    followed = EventFollower.follow
    monkeypatch.setattr(EventFollower, "follow", follow)
    result = run_sync(turn_of(MemoryMessage("hello"), record, client)._core.run(Losing()))
    assert (result.error, result.content) == (None, 'You said: "hello".')
    assert len(sent) >= 2
    assert len(set(sent)) == 1


def test_a_prompt_of_a_session_that_is_gone_gets_a_new_id_in_a_fresh_one(client, record, monkeypatch):
    message = MemoryMessage("once more")
    die_over(message, record, client, "prompt", monkeypatch, after=False)
    before = message.state
    client.delete(before.session_id)
    result = turn_of(message, record, client).run()
    assert result.content == 'You said: "once more".'
    assert result.prompt_id != before.prompt_id
    assert result.session_id not in (None, before.session_id)


def test_a_turn_that_somebody_runs_is_refused_or_waited_for(client, record, held):
    message = MemoryMessage(SLOW)
    running = threading.Thread(target=turn_of(message, record, client).run)
    running.start()
    eventually(lambda: message.state.content)
    with pytest.raises(errors.TurnInProgressError):
        turn_of(message, record, client).run()
    held.set()
    result = turn_of(message, record, client, when_busy="wait").run()
    running.join(60)
    assert (result.status, result.content) == (TurnStatus.COMPLETED, SAID)
    assert len(user_messages(client, result.session_id)) == 1


def test_a_runner_from_whom_the_turn_was_taken_stops_and_has_overwritten_nothing(client, record, held):
    message = MemoryMessage(SLOW)

    def run():
        with pytest.raises(errors.TurnTakenError):
            turn_of(message, record, client, deadlines=Deadlines(lease=1.5)).run()
        held.set()  # not before: the answer is not to end while it may still be this runner's

    running = threading.Thread(target=run)
    running.start()
    eventually(lambda: message.state.content)
    message.row["opencode_turn_lease"] = None  # as if it had not been heard of for long
    result = turn_of(message, record, client).run()
    running.join(60)
    assert (result.status, result.content) == (TurnStatus.COMPLETED, SAID)
    assert message.state.epoch == 2
    assert len(user_messages(client, result.session_id)) == 1


def test_an_error_of_the_database_leaves_the_turn_to_be_taken_up(client, record, monkeypatch):
    monkeypatch.setattr("opencode_sessions.turns.store_result._PAUSES", ())
    message = MemoryMessage("hello")
    store = MemoryMessageStore(message)

    async def finish(epoch, state):
        raise OSError("the database is being restarted")

    store.finish = finish
    with pytest.raises(OSError, match="restarted"):
        turn_of(message, record, client, store=store).run()
    assert message.state.status is TurnStatus.STREAMING
    message.row["opencode_turn_lease"] = None
    result = turn_of(message, record, client).run()
    assert result.content == 'You said: "hello".'
    assert len(user_messages(client, result.session_id)) == 1
