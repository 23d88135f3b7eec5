"""The shapes of the 2.x line: frames into events, stored messages into answers, names into this library's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_sessions.errors import InvalidRulesError
from opencode_sessions.protocol import events
from opencode_sessions.protocol.permissions import allow, deny, from_json
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.wire.v2 import frames, names, responses

SESSION, PROMPT, ANSWER, CALL = "ses_1", "msg_1", "msg_2", "call_1"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
known_keys = st.sampled_from(
    [
        "sessionID",
        "inboxID",
        "item",
        "assistantMessageID",
        "id",
        "ordinal",
        "text",
        "delta",
        "error",
        "form",
        "at",
    ]
)
half_known = st.dictionaries(known_keys, json_values | st.dictionaries(known_keys, json_values, max_size=6))


def everybody(_):
    return True


def frame(kind, **data):
    return {"id": "evt_1", "created": 7, "type": f"session.{kind}", "data": {"sessionID": SESSION, **data}}


def step(kind, **data):
    return frame(kind, assistantMessageID=ANSWER, **data)


def enqueued(prompt_id=PROMPT, kind="user"):
    return frame("inbox.enqueued", inboxID=prompt_id, item={"type": kind, "payload": {"text": "hi"}})


def delivered(prompt_id=PROMPT):
    return frame("inbox.delivered", inboxID=prompt_id)


BEGUN = [enqueued(), frame("execution.started"), delivered(), step("step.started", agent="build", started=5)]


def folded(*told, reply=None):
    reply, reader = reply or Reply(SESSION, PROMPT), frames.Reader()
    for each in told:
        for event in reader(json.dumps(each).encode(), everybody):
            reply.apply(event)
    return reply


@given(json_values)
def test_any_json_is_events(value):
    assert all(isinstance(event, events.Event) for event in frames.Reader().read(value, everybody))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(sorted(frames._PARSERS)), half_known), max_size=4))
def test_known_kinds_of_strange_shapes_never_raise(told):
    reader = frames.Reader()
    for kind, data in told:
        for event in reader.read({"type": kind, "data": data}, everybody):
            assert isinstance(event, events.Event)


def test_what_nobody_listens_to_is_dropped_but_not_whose_child_a_session_is():
    reader = frames.Reader()
    child = {"type": "session.created", "data": {"sessionID": "ses_2", "parentID": SESSION}}
    assert reader.read(frame("execution.started"), lambda _: False) == ()
    (created,) = reader.read(child, lambda _: False)
    assert (created.session_id, created.parent_id) == ("ses_2", SESSION)


@pytest.mark.parametrize("spaced", [False, True])
def test_what_nobody_listens_to_is_told_by_its_head_or_by_parsing_it(spaced):
    separators = (", ", ": ") if spaced else (",", ":")
    asked = []
    for place in ({}, {"location": {"directory": "/srv/a"}}):
        told = {
            "id": "evt_1",
            "created": 7,
            "type": "session.text.delta",
            **place,
            "data": {"sessionID": SESSION},
        }
        data = json.dumps(told, separators=separators).encode()
        assert frames.Reader()(data, lambda session_id: bool(asked.append(session_id))) == ()
        assert (frames._HEAD.match(data) is None) == spaced
    assert asked == [SESSION, SESSION]


def test_a_text_is_its_deltas_and_then_what_is_stored_of_it():
    so_far = [*BEGUN, step("text.started", ordinal=0), step("text.delta", ordinal=0, delta="Hel")]
    assert folded(*so_far).text == "Hel"
    ended = [
        *so_far,
        step("text.ended", ordinal=0, text="Hello"),
        step("step.ended", finish="stop", cost=0.5),
    ]
    reply = folded(*ended)
    assert (reply.text, reply.final, reply.cost) == ("Hello", True, 0.5)


def test_thoughts_and_texts_of_one_step_are_told_apart():
    told = [step(f"{kind}.ended", ordinal=0, text=kind) for kind in ("reasoning", "text")]
    reply = folded(*BEGUN, *told)
    assert [(part.type, part.text) for part in reply.parts.values()] == [
        ("reasoning", "reasoning"),
        ("text", "text"),
    ]


def test_what_a_step_said_before_it_is_tried_again_is_said_anew():
    told = [step("text.started", ordinal=0), step("text.delta", ordinal=0, delta="Hel")]
    again = [
        step("retry.scheduled", attempt=1, at=9, error={"type": "provider.internal", "message": "x"}),
        BEGUN[-1],
    ]
    assert folded(*BEGUN, *told, *again, *told, step("text.delta", ordinal=0, delta="lo")).text == "Hello"


def test_a_tool_call_grows_and_has_this_librarys_names():
    told = [
        step("tool.input.started", id=CALL, name="subagent"),
        step("tool.called", id=CALL, input={"agent": "general", "prompt": "p"}),
        step("tool.progress", id=CALL, metadata={"sessionID": "ses_2"}),
    ]
    (call,) = folded(*BEGUN, *told).tools
    assert (call.tool, call.status, call.input) == (
        "task",
        "running",
        {"subagent_type": "general", "prompt": "p"},
    )
    assert call.metadata["sessionId"] == "ses_2"
    file = {"type": "file", "uri": "data:image/png;base64,AA==", "mime": "image/png", "name": "a.png"}
    content = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, file]
    (call,) = folded(*BEGUN, *told, step("tool.success", id=CALL, content=content)).tools
    assert (call.status, call.output, len(call.attachments)) == ("completed", "one\ntwo", 1)


def test_an_answer_goes_to_the_prompt_that_was_delivered_before_it():
    others = [
        enqueued("msg_9"),
        delivered("msg_9"),
        frame("step.started", assistantMessageID="msg_8", started=6),
    ]
    reply = folded(*BEGUN, step("step.ended", finish="stop"), *others)
    assert list(reply.messages) == [ANSWER]


def test_what_is_delivered_and_is_no_prompt_does_not_end_an_answer():
    told = [enqueued("msg_9", "synthetic"), delivered("msg_9")]
    reply = folded(*BEGUN, *told, frame("step.started", assistantMessageID="msg_8", started=6))
    assert list(reply.messages) == [ANSWER, "msg_8"]


def test_an_answer_that_had_begun_before_the_stream_is_read_from_what_is_stored():
    reader = frames.Reader()
    gap, message = reader.read(BEGUN[-1], everybody)
    assert (type(gap), gap.session_id, message.message.parent_id) == (events.Gap, SESSION, None)


def page(*messages):
    """Stored messages, given oldest first, with what each answers."""
    thread, told = responses.Thread(), []
    for body in reversed(messages):
        told += thread.take(responses.message_of(SESSION)({"data": body}))
    return told[::-1]


USER = {"id": PROMPT, "type": "user", "text": "hi", "time": {"created": 1}}


def answer(message_id=ANSWER, **more):
    text = {"type": "text", "text": "Hello"}
    return {"id": message_id, "type": "assistant", "content": [text], "time": {"created": 2}, **more}


def idle(outcome, **more):
    return {"id": "msg_7", "type": "idle", "outcome": outcome, "time": {"created": 3}, **more}


ENDED = {"finish": "stop", "time": {"created": 2, "completed": 3}}


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        ([USER, answer(**ENDED), idle("succeeded")], None),
        ([USER, answer(), idle("interrupted")], "MessageAbortedError"),
        ([USER, idle("failed", error={"type": "provider.auth", "message": "no"})], "APIError"),
        ([USER, idle("succeeded")], "NoAnswer"),
        ([USER, answer(error={"type": "provider.internal", "message": "no"}), idle("failed")], "APIError"),
    ],
    ids=["answered", "interrupted", "failed at once", "answered nothing", "failed"],
)
def test_how_a_turn_ended_is_in_its_messages(stored, error):
    reply = Reply.of(SESSION, PROMPT, page(*stored))
    assert reply.final
    assert (reply.error or {}).get("name") == error


INTERRUPTED = {"finish": "error", "error": {"type": "aborted", "message": "Step interrupted"}}


def test_a_step_that_was_interrupted_is_the_end_only_if_the_session_went_idle():
    """A server that shuts down interrupts steps, and goes on with them at its next start."""
    stopped = answer(**{**ENDED, **INTERRUPTED})
    assert not Reply.of(SESSION, PROMPT, page(USER, stopped)).final
    ended = Reply.of(SESSION, PROMPT, page(USER, stopped, idle("interrupted")))
    assert (ended.final, ended.error["name"]) == (True, "MessageAbortedError")
    resumed = Reply.of(SESSION, PROMPT, page(USER, stopped, answer("msg_8", **ENDED), idle("succeeded")))
    assert (resumed.final, resumed.error) == (True, None)


def test_an_event_of_an_interrupted_step_does_not_end_the_answer():
    reply = Reply(SESSION, PROMPT)
    reader = frames.Reader()
    told = [delivered(), step("step.started"), step("step.failed", **INTERRUPTED)]
    for event in (event for each in told for event in reader.read(each, everybody)):
        reply.apply(event)
    assert (reply.final, reply.error) == (False, None)


def test_a_step_that_a_later_prompt_completed_was_neither_ended_nor_stopped():
    broken = answer(time={"created": 2, "completed": 3})
    later = {**USER, "id": "msg_8"}
    reply = Reply.of(SESSION, PROMPT, page(USER, broken, later))
    assert (reply.final, reply.last.completed) == (False, False)


def test_what_was_noted_after_the_end_does_not_hide_it():
    switched = {"id": "msg_9", "type": "agent-switched", "agent": "plan", "time": {"created": 4}}
    reply = Reply.of(SESSION, PROMPT, page(USER, idle("failed", error={"type": "x"}), switched))
    assert (reply.final, reply.error["name"]) == (True, "x")


def test_a_turn_that_goes_on_is_not_final():
    assert not Reply.of(SESSION, PROMPT, page(USER, answer())).final
    again = page(USER, answer(), idle("interrupted"), answer("msg_8"))
    assert not Reply.of(SESSION, PROMPT, again).final


def test_a_compaction_on_the_way_costs_and_the_answer_goes_on():
    compaction = {
        "id": "msg_3",
        "type": "compaction",
        "status": "completed",
        "reason": "auto",
        "summary": "s",
    }
    stored = page(
        USER, {**compaction, "time": {"created": 2}, "cost": 0.25}, answer("msg_8", cost=0.5, **ENDED)
    )
    reply = Reply.of(SESSION, PROMPT, stored)
    assert (reply.text, reply.cost, reply.final) == ("Hello", 0.75, True)


def test_rules_go_there_and_back():
    rules = (deny("*"), allow("bash", "git *"), allow("task"), allow("read"))
    sent = names.rules_to_json(rules)
    assert [rule["action"] for rule in sent] == ["*", "shell", "subagent", "read"]
    assert from_json(names.rules_of(sent)) == rules


@pytest.mark.parametrize("name", ["ba*", "s*", "?ask", "sub*"])
def test_a_wildcard_that_would_mean_something_else_there_is_refused(name):
    with pytest.raises(InvalidRulesError, match="matches only one of"):
        names.rules_to_json([deny(name)])


@pytest.mark.parametrize(("theirs", "ours"), [("shell", "bash"), ("subagent", "task")])
def test_a_rule_with_the_servers_own_name_is_refused_with_the_name_to_write(theirs, ours):
    with pytest.raises(InvalidRulesError, match=f"the rule for '{theirs}' .* write '{ours}'"):
        names.rules_to_json([allow("*"), deny(theirs)])


FORM = {
    "id": "frm_1",
    "sessionID": SESSION,
    "title": "Questions",
    "metadata": {"kind": "question", "tool": {"messageID": ANSWER, "id": CALL}},
    "fields": [
        {"key": "q0", "type": "string", "title": "Color", "description": "Which?"}
        | {"options": [{"value": "r", "label": "Red"}], "custom": True},
        {"key": "q1", "type": "multiselect", "title": "Fruit", "options": [{"value": "a", "label": "Apple"}]},
    ],
}


def test_a_question_is_a_form_and_its_answer_names_the_fields():
    asked = responses.parse_form(FORM)
    assert [question["multiple"] for question in asked.questions] == [False, True]
    assert (asked.questions[0]["question"], asked.call_id) == ("Which?", CALL)
    assert responses.answers_to(FORM, [["Red"], ["Apple", "Pear"]]) == {"q0": "r", "q1": ["a", "Pear"]}


def test_a_form_that_is_no_question_has_none():
    assert responses.parse_form({**FORM, "metadata": {"kind": "elicitation"}}).questions == ()
    assert responses.parse_form({**FORM, "fields": [{"key": "k", "type": "boolean"}]}).questions == ()
