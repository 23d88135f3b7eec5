"""The simulator's server stores, answers and forgets prompts as the real one does."""

from __future__ import annotations

import time

import pytest
from selection import sample
from simulator.turns.server import TurnServer

from opencode_sessions import Client, NotFoundError, SessionNotFoundError, allow, new_session_id
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.runtime.stepping import run_sync

SLOW = "!slow 0.35\n!say one two three four five six seven eight nine ten eleven twelve"


class Simulated:
    """The simulator's; its agent does a step when it is told to."""

    def __init__(self):
        self.wire = TurnServer()

    def listed(self, session_id):
        return run_sync(self.wire.messages(session_id))

    def until_it_answers(self, session_id):
        self.until_stored(session_id, None)
        run_sync(self.wire.begin(session_id))

    def until_stored(self, session_id, prompt_id):
        if ("store", session_id) in self.wire.moves():
            run_sync(self.wire.store(session_id))

    until_busy = until_it_answers

    def until_idle(self, session_id):
        while moves := self.wire.moves():
            for step, place in moves:
                run_sync(getattr(self.wire, step)(place))

    def die(self):
        run_sync(self.wire.die())


class Real:
    """The real one."""

    def __init__(self, client, server=None):
        self._client, self._server = client, server
        self._slowness = 5.0 if server is None else 15.0  # what one has just started begins late
        self.wire = client._core

    def listed(self, session_id):
        return list(self._client.messages(session_id))

    def until_it_answers(self, session_id):
        self._until(lambda: any(not info.completed for info in self._answers(session_id)))

    def until_stored(self, session_id, prompt_id):
        self._until(lambda: any(message.info.id == prompt_id for message in self.listed(session_id)))

    def until_busy(self, session_id):
        self._until(lambda: self._client.busy(session_id))

    def until_idle(self, session_id):
        before = time.monotonic()
        # It is not busy from the first instant on, and of what is not answered again it never is.
        self._until(lambda: self._client.busy(session_id) or time.monotonic() - before > self._slowness)
        self._until(lambda: not self._client.busy(session_id))

    def die(self):
        self._server.kill()
        self._server.restart()

    def _answers(self, session_id):
        return [message.info for message in self.listed(session_id) if message.info.role == "assistant"]

    def _until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)


class Conversation:
    """One session of either server, and what a turn asks of it."""

    def __init__(self, server):
        self._server, self._wire = server, server.wire
        self.id = new_session_id()
        self._texts = {}
        run_sync(self._wire.create(self.id, directory=None))
        run_sync(self._wire.update(self.id, title="A talk", rules=[allow("*")], metadata=None))

    def send(self, prompt_id, text=SLOW):
        text = self._texts.setdefault(prompt_id, text)
        parts = [{"id": f"prt_{prompt_id.removeprefix('msg_')}0000", "type": "text", "text": text}]
        run_sync(self._wire.prompt(self.id, parts, message_id=prompt_id))

    def answer(self, prompt_id):
        """Send it, and wait until it is answered, if it is."""
        self.send(prompt_id, "hello")
        self._server.until_idle(self.id)

    def begin(self, prompt_id):
        """Send it, and wait until the agent has begun to answer."""
        self.send(prompt_id)
        self._server.until_it_answers(self.id)

    def until_stored(self, prompt_id):
        self._server.until_stored(self.id, prompt_id)

    def until_busy(self):
        self._server.until_busy(self.id)

    def rest(self):
        self._server.until_idle(self.id)

    def stop(self):
        assert list(run_sync(self._wire.stop(self.id))) == []

    def delete(self):
        return run_sync(self._wire.delete(self.id))

    def die(self):
        self._server.die()

    @property
    def busy(self):
        return run_sync(self._wire.busy(self.id, directory=run_sync(self._wire.get(self.id)).directory))

    def has(self, prompt_id):
        """Can the prompt be found by its id?"""
        try:
            return run_sync(self._wire.message(self.id, prompt_id)).info.id == prompt_id
        except NotFoundError:
            return False

    def log(self, **names):
        """What is stored, oldest first: prompts by their names, and how each answer to one ended."""
        known = {prompt_id: name for name, prompt_id in names.items()}
        return [
            f"{known[info.parent_id]} {_end(info)}" if info.role == "assistant" else known[info.id]
            for info in (message.info for message in reversed(self._server.listed(self.id)))
        ]


def _end(info):
    if info.error is not None:
        return info.error["name"]
    return info.finish if info.completed else "open"


@pytest.fixture(params=sample(["simulated", "real"], "simulated"))
def talk(request):
    if request.param == "simulated":
        return Conversation(Simulated())
    return Conversation(Real(request.getfixturevalue("client")))


@pytest.fixture
def a():
    return new_message_id()


@pytest.fixture
def b():
    return new_message_id()


@pytest.fixture
def c():
    return new_message_id()


ABORTED = "a MessageAbortedError"


def test_a_prompt_is_stored_a_little_after_it_was_accepted(talk, a):
    assert not talk.has(a)
    talk.send(a)
    talk.until_stored(a)
    assert talk.has(a)
    talk.stop()


def test_a_prompt_is_answered_once(talk, a):
    talk.answer(a)
    assert talk.log(a=a) == ["a", "a stop"]
    assert not talk.busy


def test_sent_again_while_it_is_answered_it_joins(talk, a):
    talk.begin(a)
    assert talk.busy
    talk.send(a)
    talk.rest()
    assert talk.log(a=a) == ["a", "a stop"]


def test_sent_again_when_it_was_answered_last_it_is_not_answered_again(talk, a):
    talk.answer(a)
    talk.answer(a)
    assert talk.log(a=a) == ["a", "a stop"]


def test_sent_again_after_another_one_it_is_answered_again_and_stays_where_it_was(talk, a, b):
    talk.answer(a)
    talk.answer(b)
    talk.answer(a)
    talk.answer(a)
    assert talk.log(a=a, b=b) == ["a", "a stop", "b", "b stop", "a stop"]


def test_what_comes_while_another_is_answered_is_answered_after_it(talk, a, b):
    talk.begin(a)
    talk.send(b, "hello")
    talk.rest()
    assert talk.log(a=a, b=b) == ["a", "a stop", "b", "b stop"]


def test_what_is_stopped_is_aborted_and_what_waits_behind_it_waits_on(talk, a, b, c):
    talk.begin(a)
    talk.send(b, "hello")
    talk.stop()
    assert not talk.busy
    assert talk.log(a=a, b=b) == ["a", ABORTED, "b"]
    talk.answer(c)
    assert talk.log(a=a, b=b, c=c) == ["a", ABORTED, "b", "c", "c stop"]


def test_what_is_stopped_as_soon_as_it_is_busy_is_aborted(talk, a):
    talk.send(a)
    talk.until_busy()
    talk.stop()
    assert talk.log(a=a) == ["a", ABORTED]


def test_what_was_aborted_is_answered_when_it_is_sent_again(talk, a):
    talk.begin(a)
    talk.stop()
    talk.answer(a)
    assert talk.log(a=a) == ["a", ABORTED, "a stop"]


def test_a_session_that_is_gone_takes_no_prompt_and_has_no_messages(talk, a):
    talk.answer(a)
    directory = run_sync(talk._wire.get(talk.id)).directory
    assert talk.delete() is True
    assert not talk.has(a)
    assert run_sync(talk._wire.busy(talk.id, directory=directory)) is False
    with pytest.raises(SessionNotFoundError):
        talk.send(a)
    with pytest.raises(SessionNotFoundError):
        talk.log(a=a)
    talk.stop()


@pytest.fixture(params=sample(["simulated", "real"], "simulated"))
def mortal_talk(request):
    if request.param == "simulated":
        yield Conversation(Simulated())
        return
    server = request.getfixturevalue("own_server")(models=None)  # with them a first prompt takes a second
    with Client(server.url, password=server.password) as client:
        yield Conversation(Real(client, server))


def test_what_is_stopped_before_it_is_stored_is_answered_all_the_same(mortal_talk, a):
    mortal_talk.send(a, "hello")
    mortal_talk.stop()
    was_stored = mortal_talk.has(a)  # on a busy machine, by the time that the stop has arrived
    mortal_talk.until_stored(a)
    mortal_talk.rest()
    answered, aborted = ["a", "a stop"], ["a", ABORTED]
    assert mortal_talk.log(a=a) in ((answered, aborted) if was_stored else (answered,))


def test_what_is_stopped_when_it_is_stored_may_be_answered_all_the_same(mortal_talk, a):
    mortal_talk.send(a, "hello")
    mortal_talk.until_stored(a)
    mortal_talk.stop()
    mortal_talk.rest()
    # On the real server it begins in these milliseconds; the simulated one does the worse of both.
    assert mortal_talk.log(a=a)[1:] in (["a stop"], [ABORTED])


def test_what_was_answered_when_the_server_died_stays_open_until_it_is_sent_again(mortal_talk, a):
    mortal_talk.begin(a)
    mortal_talk.die()
    assert not mortal_talk.busy
    assert mortal_talk.log(a=a) == ["a", "a open"]
    mortal_talk.answer(a)
    assert mortal_talk.log(a=a) == ["a", "a open", "a stop"]
