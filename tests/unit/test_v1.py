from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol import events
from opencode_sessions.wire.v1 import calls, frames, responses

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
known_kinds = st.sampled_from(sorted(frames._PARSERS))
known_keys = st.sampled_from(
    [
        "info",
        "part",
        "sessionID",
        "status",
        "id",
        "role",
        "time",
        "tokens",
        "error",
        "todos",
        "questions",
        "cost",
    ]
)
half_known = st.dictionaries(known_keys, json_values | st.dictionaries(known_keys, json_values, max_size=6))


def frame(kind, **properties):
    return {"directory": "/srv/a", "payload": {"id": "evt_1", "type": kind, "properties": properties}}


@given(json_values)
def test_any_json_is_an_event(value):
    assert isinstance(frames.parse_event(value), events.Event)


@given(known_kinds, half_known)
def test_a_known_kind_of_a_strange_shape_never_raises(kind, properties):
    assert isinstance(frames.parse_event(frame(kind, **properties)), events.Event)


def test_an_unknown_kind_passes_through_as_such():
    event = frames.parse_event(frame("file.edited", file="a.txt", sessionID="ses_1"))
    assert event == events.Unknown(
        kind="file.edited",
        properties={"file": "a.txt", "sessionID": "ses_1"},
        session_id="ses_1",
        directory="/srv/a",
    )


def test_a_frame_of_the_one_directory_stream_is_read_too():
    assert frames.parse_event({"type": "server.heartbeat", "properties": {}}) == events.Heartbeat()


def test_an_assistant_message_carries_parent_end_error_and_bill():
    info = {
        "id": "msg_2",
        "sessionID": "ses_1",
        "role": "assistant",
        "parentID": "msg_1",
        "time": {"created": 1, "completed": 2},
        "error": {"name": "APIError", "data": {"message": "no", "statusCode": 400, "isRetryable": False}},
        "cost": 0.5,
        "tokens": {"input": 3, "output": 4, "reasoning": 5, "cache": {"read": 6, "write": 7}},
    }
    event = frames.parse_event(frame("message.updated", sessionID="ses_1", info=info))
    assert isinstance(event, events.MessageChanged)
    message = event.message
    assert (message.parent_id, message.completed, message.cost) == ("msg_1", True, 0.5)
    assert message.error == {"name": "APIError", "message": "no", "status": 400, "retryable": False}
    assert message.tokens == {"input": 3, "output": 4, "reasoning": 5, "cache_read": 6, "cache_write": 7}


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ({"type": "question.replied", "answers": [["Yes"], []]}, (("Yes",), ())),
        ({"type": "question.rejected"}, None),
    ],
)
def test_a_rejected_question_has_no_answers(question, answers):
    kind = question.pop("type")
    event = frames.parse_event(frame(kind, sessionID="ses_1", requestID="que_1", **question))
    assert event.answers == answers


def test_both_error_shapes_read_alike():
    assert responses.flat_error({"name": "A", "data": {"message": "m"}}) == {"name": "A", "message": "m"}
    assert responses.flat_error({"_tag": "B", "message": "m"}) == {"name": "B", "message": "m"}
    assert responses.flat_error("odd") == {"name": "UnknownError", "message": "odd"}


def test_a_repetition_is_told_by_its_head():
    repetition = {"directory": "/srv", "payload": {"type": "sync", "syncEvent": {}}}
    assert frames.is_repetition(json.dumps(repetition, separators=(",", ":")).encode())


def test_what_only_speaks_of_a_repetition_is_none():
    about = frame("message.part.updated", part={"state": {"input": {"payload": {"type": "sync"}}}})
    about["directory"] = '/srv/"payload":{"type":"sync"'
    data = json.dumps(about, separators=(",", ":")).encode()
    assert b'"payload":{"type":"sync"' in data
    assert not frames.is_repetition(data)
    assert not frames.is_repetition(b"not json at all")


def test_rules_are_patched_only_when_given():
    (named,) = calls.update("ses_1", title="t", rules=None, metadata=None)
    (freed,) = calls.update("ses_1", title=None, rules=[], metadata=None)
    assert named.request.json == {"title": "t"}
    assert freed.request.json == {"permission": []}


def test_tools_is_never_sent_with_a_prompt():
    (call,) = calls.prompt(
        "ses_1",
        message_id="msg_1",
        parts=[],
        agent="a",
        model="p/m/x",
        system=None,
        variant=None,
        schema=None,
    )
    assert call.request.json == {
        "messageID": "msg_1",
        "parts": [],
        "agent": "a",
        "model": {"providerID": "p", "modelID": "m/x"},
    }
    assert not call.request.repeatable


@pytest.mark.parametrize("session_id", [None, "", 7])
def test_what_is_no_id_of_a_session_is_refused_before_it_is_asked_about(session_id):
    with pytest.raises(ConfigurationError, match=f"which is a text, not by {session_id!r}"):
        calls.get(session_id)
