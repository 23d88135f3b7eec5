from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reply_events import SESSION, begun, delta, fold, part, stored

from opencode_sessions.protocol.events import (
    MessageChanged,
    PermissionAsked,
    PermissionReplied,
    SessionChanged,
    SessionIdle,
    SessionStatus,
    StoredMessage,
)
from opencode_sessions.protocol.reply import Part


@pytest.fixture
def reply():
    return begun()


def status(session_id, name):
    return SessionStatus(session_id=session_id, status=name)


class Child:
    """A sub-agent's side of the events."""

    def __init__(self, session_id="ses_child", parent_id=SESSION):
        self.session_id = session_id
        self.created = SessionChanged(session_id=session_id, created=True, parent_id=parent_id, title=None)
        info = StoredMessage(id="msg_x", session_id=session_id, role="assistant", parent_id="msg_task")
        self.answers = MessageChanged(session_id=session_id, message=info)

    def part(self, part_id, kind="text", message_id="msg_x", **more):
        return replace(part(part_id, kind, message_id, **more), session_id=self.session_id)

    def call(self, part_id, status, **state):
        return self.part(part_id, "tool", tool="bash", state={"status": status, **state})

    def delta(self, part_id, text):
        return replace(delta(part_id, text, "msg_x"), session_id=self.session_id)

    def asks(self, request_id="per_1"):
        return PermissionAsked(
            session_id=self.session_id, request_id=request_id, permission="bash", patterns=(), metadata={}
        )


def task_call(child="ses_child", part_id="p1", status="running"):
    return part(part_id, "tool", tool="task", state={"status": status, "metadata": {"sessionId": child}})


def test_a_sub_agents_doings_show_under_its_call(reply):
    child = Child()
    fold(reply, child.created, task_call(), child.answers)
    fold(reply, child.part("t", message_id="msg_task", text="its prompt"))
    fold(reply, child.call("c", "running", input={"command": "ls"}), child.part("r", "reasoning", text=""))
    fold(reply, child.delta("r", "hm"), child.part("x", text=""), child.delta("x", "I look"))
    (change,) = fold(reply, child.call("c", "completed", title="listing"))
    assert change.part is reply.tools[0]
    assert reply.to_json()[0]["progress"] == {
        "session_id": "ses_child",
        "status": "running",
        "steps": [{"tool": "bash", "title": "listing", "status": "completed"}],
        "earlier": 0,
        "text": "I look",
        "waits_for": [],
    }
    fold(reply, status("ses_child", "retry"), SessionIdle(session_id="ses_child"))
    assert reply.tools[0].progress.status == "idle"
    assert not reply.over


def test_a_sub_agents_progress_is_kept_small(reply):
    child = Child()
    fold(reply, child.created, task_call(), child.answers, child.part("x", text=""))
    for number in range(100):
        fold(reply, child.call(f"c{number}", "completed", title="t" * 9_999), child.delta("x", "word " * 999))
    progress = reply.tools[0].progress
    assert (len(progress.steps), progress.earlier) == (20, 80)
    assert len(json.dumps(progress.to_json())) < 5_000
    assert progress.text.endswith("word ")


@pytest.mark.parametrize("linked_first", [True, False])
def test_an_ask_of_a_sub_agent_shows_whether_it_comes_before_or_after_its_call(reply, linked_first):
    child = Child()
    steps = [task_call(), child.asks()] if linked_first else [child.asks(), task_call()]
    fold(reply, child.created, *steps)
    assert (reply.tools[0].progress.status, reply.tools[0].progress.waits_for) == ("waiting", ["bash"])
    fold(reply, PermissionReplied(session_id="ses_child", request_id="per_1", reply="once"))
    assert (reply.tools[0].progress.status, reply.tools[0].progress.waits_for) == ("running", [])


def test_a_sub_agents_sub_agent_shows_under_the_same_call(reply):
    child, grandchild = Child(), Child("ses_grandchild", "ses_child")
    fold(reply, child.created, task_call(), grandchild.created, grandchild.asks())
    assert reply.tools[0].progress.waits_for == ["bash"]
    fold(reply, SessionIdle(session_id="ses_grandchild"))
    assert reply.tools[0].progress.status == "waiting"


def test_a_session_that_is_no_sub_agent_shows_nowhere(reply):
    stranger = Child("ses_other", "ses_elsewhere")
    fold(reply, task_call())
    assert fold(reply, stranger.created, stranger.answers, stranger.asks()) == []
    assert reply.tools[0].progress is None


def test_progress_survives_json_and_settling(reply):
    child = Child()
    fold(reply, child.created, task_call(), child.answers, child.call("c", "completed", title="listing"))
    (value,) = json.loads(json.dumps(reply.to_json()))
    assert Part.from_json(value) == reply.tools[0]
    call = {"id": "p1", "type": "tool", "tool": "task", "state": {"status": "error", "error": "aborted"}}
    reply.settle([stored(call)])
    assert (reply.tools[0].status, len(reply.tools[0].progress.steps)) == ("error", 1)


def test_a_sub_agent_that_is_set_to_work_again_begins_a_progress_of_its_own(reply):
    child = Child()
    fold(reply, child.created, task_call(), child.answers, child.call("c", "completed", title="first"))
    fold(reply, task_call(part_id="p2"), child.answers, child.call("d", "completed", title="second"))
    first, second = reply.tools
    assert [step["title"] for step in first.progress.steps] == ["first"]
    assert [step["title"] for step in second.progress.steps] == ["second"]
