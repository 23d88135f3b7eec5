from __future__ import annotations

import pytest
from reply_events import SESSION, assistant, begun, delta, fold, part, stored, text

from opencode_sessions.protocol.events import (
    SessionFailed,
    StoredMessage,
    TodosChanged,
)
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.protocol.values import Message


@pytest.fixture
def reply():
    return begun()


def test_settling_takes_what_is_stored_and_keeps_what_only_events_told(reply):
    todo = {"content": "look", "status": "pending"}
    fold(reply, part("p1", text="lost"), part("p2", text=""), delta("p2", "open"), part("p9", text="gone"))
    fold(reply, TodosChanged(session_id=SESSION, todos=(todo,)))
    changes = reply.settle([stored({"id": "p1", "type": "text", "text": "lost and found"}, text("p2", ""))])
    assert [p.text for p in reply.parts.values()] == ["lost and found", "open"]
    assert [change.delta for change in changes] == [" and found"]
    assert reply.todos == ()  # the event names no turn, and this one has no call that made a list


def test_a_todo_list_is_kept_where_the_turn_has_made_one(reply):
    first, second = ({"content": "look", "status": status} for status in ("pending", "completed"))
    state = {"status": "completed", "input": {"todos": [first]}, "metadata": {"todos": [first]}}
    call = {"id": "p1", "type": "tool", "tool": "todowrite", "callID": "c1", "state": state}
    fold(reply, part("p1", **{key: call[key] for key in ("type", "tool", "callID", "state")}))
    fold(reply, TodosChanged(session_id=SESSION, todos=(second,)))
    reply.settle([stored(call)])
    assert reply.todos == (second,)


def test_settling_on_nothing_keeps_all(reply):
    fold(reply, part("p1", text="heard"))
    assert reply.settle([]) == []
    assert reply.text == "heard"


def test_an_error_of_the_session_stands_only_where_the_stored_answer_is_not_final(reply):
    reply.apply(SessionFailed(session_id=SESSION, error={"name": "ContextOverflowError"}))
    reply.settle([stored(text("p1", "half"))])
    assert reply.error == {"name": "ContextOverflowError"}
    reply.settle([stored(text("p1", "whole"), completed=True, finish="stop")])
    assert reply.error is None


def test_what_stands_before_the_prompt_is_of_other_turns():
    prompt = StoredMessage(id="msg_prompt", session_id=SESSION, role="user")
    early = Message(
        StoredMessage(id="msg_0", session_id=SESSION, role="user"), ({"type": "compaction", "auto": True},)
    )
    messages = [early, Message(prompt, (text("p0", "?"),)), stored(text("p1", "Hello"))]
    assert Reply.of(SESSION, "msg_prompt", messages).text == "Hello"


def test_an_answer_goes_on_after_a_compaction_but_its_summary_is_no_part_of_it(reply):
    reply.apply(SessionFailed(session_id=SESSION, error={"name": "ContextOverflowError"}))
    fold(reply, part("c", "compaction", message_id="msg_compaction", auto=True))
    fold(
        reply, assistant("msg_s", parent_id="msg_compaction"), part("s", message_id="msg_s", text="a summary")
    )
    fold(reply, assistant("msg_s", parent_id="msg_compaction", completed=True, finish="stop", cost=0.5))
    fold(reply, part("c", "compaction", message_id="msg_compaction", auto=True, tail_start_id="msg_a"))
    fold(reply, assistant("msg_b", parent_id="msg_again"), part("p1", message_id="msg_b", text="on"))
    fold(reply, assistant("msg_c", parent_id="msg_stranger"), part("p2", message_id="msg_c", text="no"))
    assert (reply.text, reply.error) == ("on", None)
    assert reply.cost == 0.5


def test_a_compaction_that_failed_ends_the_answer(reply):
    fold(reply, part("c", "compaction", message_id="msg_compaction", auto=True))
    fold(reply, assistant("msg_s", parent_id="msg_compaction", completed=True, error={"name": "APIError"}))
    fold(reply, assistant("msg_b", parent_id="msg_next_turn"), part("p1", message_id="msg_b", text="no"))
    assert reply.text == ""


def test_a_structured_answer_is_the_newest_messages(reply):
    assert reply.structured is None
    fold(reply, assistant("msg_b", structured={"answer": 1}, completed=True, finish="tool-calls"))
    assert (reply.structured, reply.final) == ({"answer": 1}, True)
