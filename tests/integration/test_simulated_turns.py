"""The simulator's server stores, answers and forgets prompts as the real one does."""

from __future__ import annotations

import pytest
from selection import sample
from simulator.turns.server import TurnServer
from talks import Conversation, Real, Simulated

from opencode_sessions import Client, SessionNotFoundError
from opencode_sessions.protocol.ids import new_message_id
from opencode_sessions.runtime.stepping import run_sync


@pytest.fixture(params=sample(["simulated", "real"], "simulated"))
def talk(request):
    if request.param == "simulated":
        return Conversation(Simulated(TurnServer))
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
    talk.until_stored(b)
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
        yield Conversation(Simulated(TurnServer))
        return
    server = request.getfixturevalue("own_server")(models=None)  # with them a first prompt takes a second
    with Client(server.url, password=server.password) as client:
        yield Conversation(Real(client, server, slowness=15.0))  # what was just started begins late


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
