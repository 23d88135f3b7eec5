"""What real 2.x servers were seen to say, folded into replies."""

from __future__ import annotations

import json

import pytest
from v2_skeletons import RECORDINGS

from opencode_sessions.protocol.events import PermissionAsked, QuestionAsked, SessionIdle
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.wire.v2.frames import Reader

NAMES = sorted(path.stem for path in RECORDINGS.glob("*.txt") if path.stem != "FIELDS")
STATUSES = {"success": "completed", "failed": "error"}


def lines_of(name):
    """Each as its session, what happened, and to what."""
    for line in (RECORDINGS / f"{name}.txt").read_text().splitlines():
        if line.startswith("S"):
            yield line.split()


def of_message(message, **fields):
    return {"assistantMessageID": message, **fields}


def of_call(message, call, **fields):
    return of_message(message, id=call, **fields)


def error_of(kind):
    return {"type": kind, "message": kind}


def form_of(form, call, _, *kinds):
    fields = [{"key": f"q{index}", "type": kind, "options": []} for index, kind in enumerate(kinds)]
    metadata = {"kind": "question", "tool": {"messageID": "m", "id": call}}
    return {"form": {"id": form, "sessionID": "S1", "fields": fields, "metadata": metadata}}


TEXTS = {
    f"session.{kind}.{how}": lambda message, ordinal, said=said: of_message(
        message, ordinal=int(ordinal), **said
    )
    for kind in ("text", "reasoning")
    for how, said in {"started": {}, "delta": {"delta": kind}, "ended": {"text": kind}}.items()
}
FIELDS = {
    **TEXTS,
    "session.created": lambda parent=None: {"parentID": parent},
    "session.inbox.enqueued": lambda inbox, what, delivery: {
        "inboxID": inbox,
        "item": {"type": what, "payload": {"text": "hi"}, "delivery": delivery},
    },
    "session.inbox.delivered": lambda inbox: {"inboxID": inbox},
    "session.step.started": lambda message, agent: of_message(message, agent=agent, started=1),
    "session.step.ended": lambda message, finish: of_message(message, finish=finish, cost=1, tokens={}),
    "session.step.failed": lambda message, kind: of_message(message, error=error_of(kind)),
    "session.tool.input.started": lambda message, call, name: of_call(message, call, name=name),
    "session.tool.called": lambda message, call: of_call(message, call, input={}, executed=False),
    "session.tool.progress": lambda message, call, *more: of_call(
        message, call, metadata={"sessionID": "S2"} if "sessionID" in more else {}
    ),
    "session.tool.success": lambda message, call: of_call(message, call, content=[], metadata={}),
    "session.tool.failed": lambda message, call, kind: of_call(message, call, error=error_of(kind)),
    "permission.asked": lambda request, call, action: {
        "id": request,
        "action": action,
        "resources": ["*"],
        "source": {"type": "tool", "messageID": "m", "id": call},
    },
    "form.created": form_of,
}


def frame(session, kind, *about):
    """An event that says what its line says, with the fields that a real one has."""
    fields = FIELDS[kind](*about) if kind in FIELDS else {}
    return {"id": "evt_1", "created": 7, "type": kind, "data": {"sessionID": session, **fields}}


def prompts_of(name):
    """Of the first session: what was prompted, and which messages came between its delivery and the next one's."""
    users, prompts = set(), {}
    for session, kind, *about in lines_of(name):
        if session != "S1":
            continue
        if kind == "session.inbox.enqueued" and about[1] == "user":
            users.add(about[0])
        elif kind == "session.inbox.delivered" and about[0] in users:
            prompts[about[0]] = []
        elif kind == "session.step.started":
            list(prompts.values())[-1].append(about[0])
    return prompts


@pytest.mark.parametrize("name", NAMES)
def test_each_answer_goes_to_its_own_prompt_and_ends_as_it_did(name):
    lines, prompts, reader = list(lines_of(name)), prompts_of(name), Reader()
    replies = {prompt: Reply("S1", prompt) for prompt in prompts}
    events = []
    for line in lines:
        events += reader(json.dumps(frame(*line)).encode(), lambda _: True)
    for event in events:
        for reply in replies.values():
            reply.apply(event)
    assert {prompt: list(reply.messages) for prompt, reply in replies.items()} == prompts
    ends = {
        about[0]: about[1]
        for _, kind, *about in lines
        if kind in ("session.step.ended", "session.step.failed")
    }
    calls = {
        f"{about[0]}-{about[1]}": STATUSES[kind.rpartition(".")[2]]
        for _, kind, *about in lines
        if kind in ("session.tool.success", "session.tool.failed")
    }
    for reply in replies.values():
        for message in reply.messages.values():
            assert (message.finish or "aborted") == ends[message.id]
        assert {part.id: part.status for part in reply.tools}.items() <= calls.items()
        assert {part.tool for part in reply.tools} <= {"bash", "task", "read", "glob", "question"}
        assert all(part.text in ("text", "reasoning") for part in reply.parts.values() if part.type != "tool")
        # What was interrupted ends by what is stored.
        assert reply.final == any(ends[message_id] != "aborted" for message_id in [*reply.messages][-1:])
    rests = [kind for session, kind, *_ in lines if session == "S1" and kind.startswith("session.execution.")]
    idle = [event for event in events if isinstance(event, SessionIdle) and event.session_id == "S1"]
    assert len(idle) == len(rests) - rests.count("session.execution.started")
    asked = [event for event in events if isinstance(event, PermissionAsked | QuestionAsked)]
    assert len(asked) == sum(kind in ("permission.asked", "form.created") for _, kind, *_ in lines)


def test_a_sub_agent_shows_under_the_call_that_started_it():
    reply, reader = Reply("S1", "i1"), Reader()
    for line in lines_of("task-subagent"):
        for event in reader(json.dumps(frame(*line)).encode(), lambda _: True):
            reply.apply(event)
    (call,) = (part for part in reply.tools if part.tool == "task")
    assert call.progress is not None
    assert {step["tool"] for step in call.progress.steps} <= {"glob", "read"}
    assert call.progress.steps
