"""What a row keeps of an ask, and of the tokens of an answer: no database refuses it, and a person sees all of it."""

from __future__ import annotations

import json

from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked
from opencode_sessions.turns.asks import Ask

_MOST_OF_MARIADB = 32


def nested(levels):
    value = "the innermost"
    for _ in range(levels):
        value = {"a": [value]}
    return value


def levels_of(value):
    match value:
        case dict():
            return 1 + max(map(levels_of, value.values()), default=0)
        case list():
            return 1 + max(map(levels_of, value), default=0)
    return 0


def permission(metadata):
    event = PermissionAsked(
        session_id="ses_1", request_id="per_1", permission="doom_loop", patterns=("*",), metadata=metadata
    )
    return Ask.of(event).to_json()


def test_an_ask_that_is_nested_deeply_is_stored_whole_in_fewer_levels():
    stored = permission({"input": nested(40)})
    assert levels_of([stored]) < _MOST_OF_MARIADB
    assert "the innermost" in json.dumps(stored)


def test_an_ask_that_is_nested_more_deeply_than_python_can_write_is_stored():
    assert levels_of([permission({"input": nested(4000)})]) < _MOST_OF_MARIADB


def test_questions_that_are_nested_deeply_are_stored_in_fewer_levels():
    question = {"question": "Which?", "header": "One", "options": [{"label": nested(40)}]}
    event = QuestionAsked(session_id="ses_1", request_id="que_1", questions=(question,))
    assert levels_of([Ask.of(event).to_json()]) < _MOST_OF_MARIADB
