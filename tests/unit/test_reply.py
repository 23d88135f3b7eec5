from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reply_events import SESSION, assistant, begun, delta, fold, part, stored, tool

from opencode_sessions.protocol.events import (
    MessageChanged,
    MessageRemoved,
    PartRemoved,
    SessionFailed,
    SessionIdle,
    StoredMessage,
    TodosChanged,
)
from opencode_sessions.protocol.reply import Part, Reply
from opencode_sessions.protocol.values import Message
from opencode_sessions.store.messages import MessageState
from opencode_sessions.turns.results import snapshot


@pytest.fixture
def reply():
    return begun()


def test_text_grows_by_deltas_and_each_is_told(reply):
    changes = fold(
        reply, part("p1", text=""), delta("p1", "Hel"), delta("p1", "lo"), part("p1", text="Hello")
    )
    assert reply.text == "Hello"
    assert [change.delta for change in changes] == ["", "Hel", "lo"]


def test_whole_text_mends_lost_deltas_and_says_what_was_missing(reply):
    changes = fold(reply, part("p1", text=""), delta("p1", "Hel"), part("p1", text="Hello"))
    assert reply.text == "Hello"
    assert changes[-1].delta == "lo"


def test_whole_text_that_contradicts_what_was_heard_wins(reply):
    fold(reply, part("p1", text=""), delta("p1", "lo"), part("p1", text="Hello"))
    assert reply.text == "Hello"


def test_deltas_before_their_part_are_kept_for_it(reply):
    changes = fold(reply, delta("p1", "thin"), delta("p1", "king"), part("p1", "reasoning", text=""))
    assert [(p.type, p.text) for p in reply.parts.values()] == [("reasoning", "thinking")]
    assert [change.delta for change in changes] == ["thinking"]


def test_a_part_that_is_told_empty_again_does_not_erase(reply):
    fold(reply, part("p1", text=""), delta("p1", "Hello"), part("p1", text=""))
    assert reply.text == "Hello"


def test_reasoning_is_no_text(reply):
    fold(reply, part("p1", "reasoning", text=""), delta("p1", "hm"), part("p2", text="Yes"))
    assert reply.text == "Yes"
    assert [p.type for p in reply.parts.values()] == ["reasoning", "text"]


def test_a_tool_call_goes_through_its_states_and_loses_nothing(reply):
    fold(
        reply,
        tool("p1", "pending", input={}),
        tool("p1", "running", input={"filePath": "a"}, title="a"),
        tool("p1", "running", metadata={"diff": "+"}),
        tool("p1", "completed", output="done", title="a", metadata={"exists": False}),
    )
    (call,) = reply.tools
    assert (call.tool, call.call_id, call.status) == ("write", "call_1", "completed")
    assert (call.input, call.title, call.output) == ({"filePath": "a"}, "a", "done")
    assert call.metadata == {"exists": False}


def test_a_failed_tool_call_carries_its_error(reply):
    fold(reply, tool("p1", "error", error="no such file"))
    assert reply.tools[0].error == "no such file"


def test_bookkeeping_is_no_part_of_the_answer(reply):
    assert (
        fold(reply, part("p1", "step-start"), part("p2", "step-finish", cost=1), part("p3", "snapshot")) == []
    )
    assert reply.parts == {}


def test_a_part_of_another_kind_is_kept_as_it_came(reply):
    fold(reply, part("p1", "patch", hash="abc", files=["a.txt"]))
    assert reply.to_json() == [
        {"id": "p1", "message_id": "msg_a", "type": "patch", "data": {"hash": "abc", "files": ["a.txt"]}}
    ]


def test_the_prompt_and_other_turns_are_not_of_this_reply(reply):
    user = StoredMessage(id="msg_prompt", session_id=SESSION, role="user")
    other = StoredMessage(id="msg_x", session_id=SESSION, role="assistant", parent_id="msg_other")
    fold(
        reply,
        MessageChanged(session_id=SESSION, message=user),
        part("p0", message_id="msg_prompt", text="the prompt"),
        MessageChanged(session_id=SESSION, message=other),
        part("p9", message_id="msg_x", text="another answer"),
        delta("p9", "more", message_id="msg_x"),
    )
    assert reply.parts == {}


def test_another_session_changes_nothing(reply):
    assert reply.apply(SessionIdle(session_id="ses_child")) == []
    assert not reply.over


@pytest.mark.parametrize(("counted", "stored_tokens"), [(3_000_000_000, 2**31 - 1), (-5, 0), (7, 7)])
def test_tokens_that_no_integer_column_holds_do_not_keep_the_answer_from_being_stored(
    reply, counted, stored_tokens
):
    fold(reply, assistant("msg_a", tokens={"input": counted, "output": counted}), part("p1", text="Hello"))
    row = snapshot(reply, MessageState("hello"))
    assert (row.content, row.input_tokens, row.output_tokens) == ("Hello", stored_tokens, stored_tokens)


def test_cost_and_tokens_are_summed_over_the_messages(reply):
    bill = {"input": 10, "output": 2, "reasoning": 1, "cache_read": 3, "cache_write": 4}
    fold(reply, assistant("msg_a", cost=0.5, tokens=bill), assistant("msg_b", cost=0.25, tokens=bill))
    assert reply.cost == 0.75
    assert (reply.tokens.input, reply.tokens.output, reply.tokens.cache_write) == (20, 4, 8)


def test_an_idle_before_any_answer_is_not_the_end():
    reply = Reply(SESSION, "msg_prompt")
    reply.apply(SessionIdle(session_id=SESSION))
    assert not reply.over
    fold(reply, assistant(), SessionIdle(session_id=SESSION))
    assert reply.over


@pytest.mark.parametrize(
    ("more", "final"),
    [
        ({}, False),
        ({"completed": True, "finish": "stop"}, True),
        ({"completed": True, "finish": "length"}, True),
        ({"completed": True, "finish": "tool-calls"}, False),
        ({"completed": True}, False),
        ({"error": {"name": "APIError"}}, True),
    ],
)
def test_final_is_a_complete_message_that_asks_for_no_more_steps(reply, more, final):
    reply.apply(assistant(**more))
    assert reply.final is final


def test_the_first_token_is_text_thought_or_tool_but_not_an_empty_part(reply):
    fold(reply, part("p1", text=""))
    assert not reply.begun
    fold(reply, delta("p1", "x"))
    assert reply.begun


def test_an_error_of_the_session_and_of_a_message_are_kept(reply):
    reply.apply(SessionFailed(session_id=SESSION, error={"name": "A"}))
    assert reply.error == {"name": "A"}
    reply.apply(assistant(error={"name": "B"}))
    assert reply.error == {"name": "B"}


def test_removed_parts_and_messages_go(reply):
    fold(reply, part("p1", text="one"), part("p2", text="two"), assistant("msg_b"))
    fold(reply, part("p3", text="three", message_id="msg_b"))
    reply.apply(PartRemoved(session_id=SESSION, part_id="p1", message_id="msg_a"))
    reply.apply(MessageRemoved(session_id=SESSION, message_id="msg_b"))
    assert reply.text == "two"


def test_after_a_gap_what_is_stored_is_taken_in_and_what_is_known_stands(reply):
    fold(reply, part("p1", text="first"), part("p2", text=""), delta("p2", "open"))
    stored = Message(
        StoredMessage(id="msg_a", session_id=SESSION, role="assistant", parent_id="msg_prompt"),
        ({"id": "p1", "type": "text", "text": "first and more"}, {"id": "p2", "type": "text", "text": ""}),
    )
    changes = reply.absorb([stored])
    assert [p.text for p in reply.parts.values()] == ["first and more", "open"]
    assert [change.delta for change in changes] == [" and more"]


pieces = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6)


@given(pieces, st.sets(st.integers(0, 5)), st.integers(0, 6))
def test_whatever_deltas_are_lost_the_whole_text_ends_right(deltas, lost, opens_after):
    reply = Reply(SESSION, "msg_prompt")
    reply.apply(assistant())
    told = ""
    for index, text in enumerate(deltas):
        if index == opens_after:
            told += "".join(c.delta for c in reply.apply(part("p1", text="")))
        if index not in lost:
            told += "".join(c.delta for c in reply.apply(delta("p1", text)))
    whole = "".join(deltas)
    fold(reply, part("p1", text=whole))
    assert reply.text == whole


def test_a_part_survives_json(reply):
    fold(reply, tool("p1", "completed", input={"a": 1}, output="x", title="t", metadata={"b": [1]}))
    stored = json.loads(json.dumps(reply.to_json()))
    assert [Part.from_json(value) for value in stored] == list(reply.parts.values())


def test_text_that_has_ended_takes_no_late_delta(reply):
    fold(reply, part("p1", text="Hello", time={"start": 1, "end": 2}))
    assert fold(reply, delta("p1", "lo")) == []
    assert reply.text == "Hello"


def test_text_that_ends_empty_was_only_white_space(reply):
    fold(reply, part("p1", text=""), delta("p1", "\n"), part("p1", text="", time={"end": 2}))
    assert reply.text == ""


def test_a_call_that_is_over_does_not_run_again(reply):
    fold(reply, tool("p1", "completed", output="done"))
    assert fold(reply, tool("p1", "running", metadata={"output": "do"})) == []
    assert (reply.tools[0].status, reply.tools[0].output) == ("completed", "done")


def test_the_last_update_of_a_call_is_whole(reply):
    fold(
        reply,
        tool("p1", "running", title="a", metadata={"output": "do"}),
        tool("p1", "error", title="a", error="aborted"),
    )
    (call,) = reply.tools
    assert (call.title, call.metadata, call.error) == (None, None, "aborted")


def test_a_call_that_is_renamed_on_the_way_goes_by_its_new_name(reply):
    fold(reply, tool("p1", "pending"))
    invalid = {"status": "running", "input": {"tool": "write", "error": "unavailable"}}
    fold(reply, part("p1", "tool", tool="invalid", callID="call_1", state=invalid))
    (call,) = reply.tools
    assert (call.tool, call.status, call.input["tool"]) == ("invalid", "running", "write")


def test_a_new_step_in_the_same_message_takes_back_what_was_not_finished(reply):
    fold(reply, part("s1", "step-start"), part("p1", text=""), delta("p1", "one "))
    changes = fold(reply, part("s2", "step-start"), part("p2", text=""), delta("p2", "one two"))
    assert reply.text == "one two"
    assert (changes[0].part.id, changes[0].part.text) == ("p1", "")
    fold(reply, part("s2", "step-start"))
    assert reply.text == "one two"


def test_the_todo_list_is_the_last_part_and_is_told(reply):
    todo = {"content": "look", "status": "pending", "priority": "high"}
    (change,) = fold(reply, TodosChanged(session_id=SESSION, todos=(todo,)))
    fold(reply, part("p1", text="Hello"))
    assert (change.part.type, change.part.data) == ("todos", {"todos": [todo]})
    assert [value["type"] for value in reply.to_json()] == ["text", "todos"]
    assert Part.from_json(reply.to_json()[-1]) == change.part
    assert fold(reply, TodosChanged(session_id=SESSION, todos=(todo,))) == []


def test_todos_whose_event_was_lost_are_read_from_their_call(reply):
    todo = {"content": "look", "status": "completed"}
    body = {"status": "completed", "output": "[]", "metadata": {"todos": [todo]}}
    fold(reply, part("p1", "tool", tool="todowrite", state=body))
    assert reply.todos == (todo,)


def test_a_part_of_no_kind_survives_json_too(reply):
    fold(reply, part("p1", ""))
    assert [Part.from_json(value) for value in reply.to_json()] == list(reply.parts.values())


def test_a_message_that_is_complete_stays_so(reply):
    fold(reply, assistant(completed=True, finish="stop"), assistant())
    assert reply.final


def test_a_number_that_json_does_not_have_is_null(reply):
    fold(reply, tool("p1", "running", input={"a": [float("nan"), 1.5], "b": float("inf")}))
    assert reply.to_json()[0]["input"] == {"a": [None, 1.5], "b": None}


def test_a_reply_of_a_row_keeps_what_was_said_while_the_server_stores_no_text_of_an_open_part(reply):
    fold(reply, part("p1", text=""), delta("p1", "one two"), tool("p2", "running", input={"a": 1}))
    resumed = Reply.resumed(SESSION, "msg_prompt", json.loads(json.dumps(reply.to_json())))
    assert (resumed.text, resumed.to_json(), resumed.begun) == ("one two", reply.to_json(), False)
    assert resumed.absorb([stored({"id": "p1", "type": "text", "text": ""})]) == []
    fold(resumed, delta("p1", " four"))
    assert (resumed.text, resumed.begun) == ("one two four", True)
    whole = {"id": "p1", "type": "text", "text": "one two three four"}
    resumed.settle([stored(whole, completed=True, finish="stop")])
    assert [found.text for found in resumed.parts.values()] == ["one two three four"]


def test_a_reply_of_a_row_keeps_its_todo_list(reply):
    todo = {"content": "look", "status": "pending"}
    fold(reply, TodosChanged(session_id=SESSION, todos=(todo,)))
    resumed = Reply.resumed(SESSION, "msg_prompt", [*reply.to_json(), {"type": "finish", "reason": "length"}])
    assert (resumed.todos, resumed.parts) == ((todo,), {})


def test_steps_that_go_on_without_a_call_are_counted_from_the_newest_complete_one(reply):
    steps = [("msg_a", "tool-calls"), ("msg_b", "unknown"), ("msg_c", None), ("msg_d", "tool-calls")]
    fold(reply, *(assistant(name, completed=True, finish=finish) for name, finish in steps))
    fold(reply, tool("p1", "completed"), assistant("msg_e"))
    assert reply.endless == 3  # msg_a called a tool
    fold(reply, assistant("msg_e", completed=True, finish="stop"))
    assert reply.endless == 0
