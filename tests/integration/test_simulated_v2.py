"""The simulator's 2.x server admits, answers and forgets prompts as the stand-in for a 2.x server does."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import pytest
from simulator.turns.server_of_v2 import TurnServerOfV2
from talks import Conversation, Real, Simulated

from opencode_sessions import Client, SessionNotFoundError
from opencode_sessions.protocol.ids import new_message_id

ABORTED = "a MessageAbortedError"


@pytest.fixture(params=["simulated", "stand-in"])
def talk(request):
    if request.param == "simulated":
        yield Conversation(Simulated(TurnServerOfV2))
        return
    server = request.getfixturevalue("fake_v2")
    mortal = SimpleNamespace(kill=server.kill, restart=server.start)
    with closing(Client(server.url, password=server.password)) as client:
        client.health()
        yield Conversation(Real(client, mortal, slowness=0.0))  # it is busy from the first instant on


@pytest.fixture
def a():
    return new_message_id()


@pytest.fixture
def b():
    return new_message_id()


@pytest.fixture
def c():
    return new_message_id()


def test_a_prompt_is_answered_once_however_often_it_is_sent(talk, a):
    talk.begin(a)
    assert talk.busy
    talk.send(a)
    talk.rest()
    assert not talk.busy
    talk.answer(a)
    assert talk.log(a=a) == ["a", "a stop"]


def test_sent_again_after_another_one_it_is_not_answered_again(talk, a, b):
    talk.answer(a)
    talk.answer(b)
    talk.answer(a)
    assert talk.log(a=a, b=b) == ["a", "a stop", "b", "b stop"]


def test_what_comes_while_another_is_answered_is_answered_after_it_and_is_no_message_before(talk, a, b):
    talk.begin(a)
    talk.send(b, "hello")
    assert not talk.has(b)
    talk.rest()
    assert talk.log(a=a, b=b) == ["a", "a stop", "b", "b stop"]


def test_what_waits_can_be_taken_back_once_and_what_is_answered_cannot(talk, a, b):
    talk.begin(a)
    talk.send(b, "hello")
    assert talk.is_taken_back(b)
    assert not talk.is_taken_back(b)
    assert not talk.is_taken_back(a)
    talk.rest()
    assert talk.log(a=a, b=b) == ["a", "a stop"]


def test_what_is_stopped_is_aborted_and_what_waits_comes_with_the_next_prompt(talk, a, b, c):
    talk.begin(a)
    talk.send(b, "hello")
    talk.stop()
    talk.rest()
    assert talk.log(a=a, b=b) == ["a", ABORTED]
    talk.answer(c)
    assert talk.log(a=a, b=b, c=c) == ["a", ABORTED, "b", "c", "c stop"]


def test_what_was_aborted_is_not_answered_when_it_is_sent_again(talk, a):
    talk.begin(a)
    talk.stop()
    talk.rest()
    talk.answer(a)
    assert talk.log(a=a) == ["a", ABORTED]


def test_what_was_answered_when_the_server_died_is_gone_on_with(talk, a):
    talk.begin(a)
    talk.die()
    assert talk.busy
    talk.rest()
    assert talk.log(a=a) == ["a", "a open", "a stop"]


def test_what_waited_when_the_server_died_is_taken_up_first_and_answered_alone(talk, a, b):
    talk.begin(a)
    talk.send(b, "hello")
    talk.die()
    talk.rest()
    assert talk.log(a=a, b=b) == ["a", "a open", "b", "b stop"]


def test_a_session_that_is_gone_takes_no_prompt_and_has_no_messages(talk, a):
    talk.answer(a)
    assert talk.delete() is True
    assert not talk.has(a)
    with pytest.raises(SessionNotFoundError):
        talk.send(a)
    with pytest.raises(SessionNotFoundError):
        talk.log(a=a)
    talk.stop()
