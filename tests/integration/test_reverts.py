"""What was said is taken back, and comes back if nothing was said instead."""

from __future__ import annotations

import pytest

from opencode_sessions import Session, Turn, allow
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

pytestmark = pytest.mark.lines


@pytest.fixture
def record():
    return MemoryRecord("Something that is taken back")


def say(client, record, prompt):
    return Turn(MemoryMessage(prompt), Session(record, permissions_for=lambda _: [allow("*")]), client).run()


def answers(client, session_id):
    """Oldest first."""
    messages = reversed(list(client.messages(session_id)))
    return [part["text"] for each in messages for part in each.parts if part["type"] == "text"][1::2]


def test_the_next_prompt_takes_the_place_of_what_was_taken_back(client, record):
    session_id, second = say(client, record, "one").session_id, say(client, record, "two")
    client.revert(session_id, second.prompt_id)
    say(client, record, "three")
    assert answers(client, session_id) == [
        'You said: "one".',
        'You said: "three". Before that you said: "one".',
    ]


def test_what_was_taken_back_comes_back(client, record):
    session_id, second = say(client, record, "one").session_id, say(client, record, "two")
    client.revert(session_id, second.prompt_id)
    client.unrevert(session_id)
    assert say(client, record, "three").content == 'You said: "three". Before that you said: "two".'
    assert len(answers(client, session_id)) == 3
