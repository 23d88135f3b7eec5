"""A new session is told what was said before, with its first prompt."""

from __future__ import annotations

import json

import httpx2
import pytest
from model_bodies import bodies_asked

from opencode_sessions import ConfigurationError, Session, Turn, allow, new_message_id, retold
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord
from opencode_sessions.store.messages import TurnStatus

pytestmark = pytest.mark.lines


@pytest.fixture
def record():
    return MemoryRecord("A trip")


@pytest.fixture
def session(record):
    return Session(record, permissions_for=lambda _: [allow("*")])


@pytest.fixture
def say(client, session):
    """Call it with a prompt: the texts of the user that the model is asked with, and the turn's result."""
    said = []

    def say(prompt, **options):
        with bodies_asked() as bodies:
            result = Turn(
                MemoryMessage(prompt), session, client, retell=lambda _: retold(said), **options
            ).run()
        assert result.status is TurnStatus.COMPLETED
        said.append((prompt, result.content))
        return texts_of(bodies[-1]), result

    return say


def texts_of(body):
    """All that the user said, a text for each message."""
    contents = [message["content"] for message in body["messages"] if message["role"] == "user"]
    return [
        each if isinstance(each, str) else "\n\n".join(part["text"] for part in each) for each in contents
    ]


def test_a_first_session_is_told_nothing(say):
    texts, _ = say("hello")
    assert texts == ["hello"]


def test_a_session_that_was_replaced_is_told_what_was_said_once(client, session, say):
    say("!say We go to Lisbon.")
    session.recreate(client)
    (told,), _ = say("!say In May.")
    head, line, _, prompt = told.split("\n")
    assert "in a session that is gone" in head
    assert json.loads(line) == {"user": "!say We go to Lisbon.", "you": "We go to Lisbon."}
    assert prompt == "!say In May."
    texts, _ = say("hello")
    assert texts == [told, "hello"]


def test_a_turn_whose_session_is_gone_tells_it_to_the_session_that_replaces_it(client, record, say):
    say("!say We go to Lisbon.")
    client.delete(record.opencode_session_id)
    (told,), result = say("!say In May.")
    assert "We go to Lisbon." in told
    assert result.content == "In May."
    assert result.session_id == record.opencode_session_id


def test_a_turn_that_is_taken_up_in_a_new_session_tells_it_there(client, record, session, say):
    say("!say We go to Lisbon.")
    gone = record.opencode_session_id
    message = MemoryMessage("!say In May.")
    store = MemoryMessageStore(message)
    assert run_sync(store.take(message.state, 0))
    assert run_sync(store.set_prompt_target(1, gone, new_message_id()))
    run_sync(store.extend(1, 0))
    client.delete(gone)
    with bodies_asked() as bodies:
        result = Turn(message, session, client, retell=lambda _: retold([("!say We go.", "We go.")])).run()
    assert (result.status, result.content) == (TurnStatus.COMPLETED, "In May.")
    assert result.session_id == record.opencode_session_id != gone
    assert "We go." in texts_of(bodies[-1])[0]


@pytest.mark.lines("v2")
def test_a_session_for_which_only_an_agent_was_chosen_is_told_it(client, server, session, say):
    say("!say We go to Lisbon.")
    url = f"{server.url}/api/session/{session.recreate(client)}/agent"
    auth = ("opencode", server.password)
    assert httpx2.post(url, json={"agent": "plan"}, auth=auth, timeout=100).is_success
    # and then its runner died
    (told,), _ = say("!say In May.", agent="plan")
    assert "We go to Lisbon." in told


def test_a_turn_whose_function_returns_no_text_fails_and_sends_nothing(client, session):
    with bodies_asked() as bodies:
        result = Turn(MemoryMessage("hello"), session, client, retell=lambda _: None).run()
    assert (bodies, result.status) == ([], TurnStatus.FAILED)
    assert "retell must return a text, not None" in result.error["message"]


def test_retell_must_be_an_ordinary_function(client, session):
    async def retell(record):
        return ""

    with pytest.raises(ConfigurationError, match="retell"):
        Turn(MemoryMessage("hello"), session, client, retell=retell)
    with pytest.raises(ConfigurationError, match="retell must be a function of a record"):
        Turn(MemoryMessage("hello"), session, client, retell="what was said")
