"""What real 2.x servers were recorded saying, the stand-in says, too: the same events with the same fields."""

from __future__ import annotations

import json

import pytest
from fix_fake_v2 import until
from v2_skeletons import field_troubles, lanes, recorded, skeleton

MODEL = {"id": "main", "providerID": "scripted"}
ASK_SHELL = [{"action": "shell", "resource": "*", "effect": "ask"}]
LONG = '!tool shell {"command": "sleep 30"}\n!say never'


@pytest.fixture
def talk(v2, fake_v2):
    """A client that listens, and knows where the server works."""
    v2.directory = fake_v2.directory
    v2.listen()
    return v2


def run_abort(talk):
    talk.prompt("ses_1", LONG)
    talk.hear_type("session.step.streamed")
    talk.hear_type("session.tool.progress")
    talk.interrupt("ses_1")
    talk.hear_type("session.execution.interrupted")
    talk.prompt("ses_1", "!say resumed")


def run_queue_parked(talk):
    talk.prompt("ses_1", LONG)
    talk.hear_type("session.tool.progress")
    talk.prompt("ses_1", "!reason Apple\n!say apple", delivery="queue")
    talk.interrupt("ses_1")
    talk.hear_type("session.execution.interrupted")
    talk.prompt("ses_1", "!say kiwi")


def run_queue_plain(talk):
    talk.prompt("ses_1", '!tool shell {"command": "until [ -e go ]; do sleep 0.01; done"}\n!say done')
    talk.hear_type("session.tool.progress")
    talk.prompt("ses_1", "!say apple", delivery="queue")
    talk.prompt("ses_1", "!say cherry", delivery="queue")
    (talk.directory / "go").touch()


def run_steer_queue(talk):
    talk.prompt("ses_1", LONG)
    talk.hear_type("session.tool.progress")
    for letter in "abc":
        talk.prompt("ses_1", f"!say {letter}", delivery="queue", id=f"msg_{letter}")
    talk.hear_type("session.step.streamed")
    talk.ask("DELETE", "/api/session/ses_1/inbox/msg_b")
    talk.prompt("ses_1", '!tool shell {"command": "date"}\n!say the date')
    talk.interrupt("ses_1", resume="true")


def run_permission(talk):
    talk.prompt("ses_1", '!tool shell {"command": "echo first"}\n!tool shell {"command": "echo second"}')
    for decision in ({"decision": "once"}, {"decision": "reject", "message": "Not that"}):
        asked = until(lambda: talk.data("GET", "/api/session/ses_1/permission"))[0]
        talk.data("POST", f"/api/session/ses_1/permission/{asked['id']}/reply", decision)


def run_question(talk):
    options = [{"label": label, "description": label} for label in ("Red", "Green")]
    questions = [
        {"question": "Which color?", "header": "Color", "options": options},
        {"question": "Which fruits?", "header": "Fruits", "options": options, "multiple": True},
    ]
    talk.prompt("ses_1", f"!tool question {json.dumps({'questions': questions})}")
    form = talk.hear_type("form.created")["data"]["form"]
    answer = {"answer": {"q0": "green", "q1": ["apple", "kiwi"]}}
    talk.data("POST", f"/api/session/ses_1/form/{form['id']}/reply", answer)


def run_switch_model(talk):
    talk.prompt("ses_1", "!say one")
    talk.hear_type("session.execution.succeeded")
    talk.data("POST", "/api/session/ses_1/model", {"model": {**MODEL, "variant": "medium"}})
    talk.data("POST", "/api/session/ses_1/agent", {"agent": "plan"})
    talk.data("PATCH", "/api/session/ses_1", {"title": "renamed"})
    talk.prompt("ses_1", "!say two")


def run_task_subagent(talk):
    inner = '!tool glob {"pattern": "**/*.txt"}\n!tool read {"path": "a.txt"}\n!say It is a.txt'
    arguments = {"agent": "general", "description": "Find a file", "prompt": inner}
    talk.prompt("ses_1", f'!tool subagent {json.dumps(arguments)}\n!tool read {{"path": "a.txt"}}\n!say Done')


def run_tools(talk):
    calls = (
        {"command": "ls | head -5"},
        {"patchText": "*** Begin Patch"},
        {"patchText": "*** Begin Patch"},
        {"command": "printf hello > a.txt"},
        {"command": "printf world >> a.txt"},
    )
    shells = [f"!tool shell {json.dumps(arguments)}" for arguments in calls]
    lines = [*shells, '!tool glob {"pattern": "*.txt"}', '!tool read {"path": "a.txt"}', "!say Done"]
    talk.prompt("ses_1", "\n".join(lines))


RUNS = {
    "tools": run_tools,
    "abort": run_abort,
    "queue-parked": run_queue_parked,
    "queue-plain": run_queue_plain,
    "steer-queue": run_steer_queue,
    "permission": run_permission,
    "question": run_question,
    "switch-model": run_switch_model,
    "task-subagent": run_task_subagent,
}


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_sequence_is_one_that_it_produces(talk, name):
    (talk.directory / "a.txt").write_text("content\n")
    rules = {"permissions": ASK_SHELL} if name == "permission" else {}
    talk.create("ses_1", title=name, model=MODEL, **rules)
    RUNS[name](talk)
    talk.wait("ses_1")
    *_, last, _ = talk.log("ses_1")
    talk.hear(lambda event: event["id"] == last["id"])
    until(lambda: talk.types().count("shell.exited") == talk.types().count("shell.created"))
    made = skeleton(talk.events)
    assert lanes(made) == lanes(recorded(name))
    assert not [trouble for event in talk.events[1:] for trouble in field_troubles(event)]


def test_lanes_differ_if_events_of_one_thing_change_places():
    lines = recorded("abort")
    places = {line: number for number, line in enumerate(lines)}
    failed, ended = (
        places["S1 session.tool.failed m1 c1 aborted"],
        places["S1 session.step.failed m1 aborted"],
    )
    changed = list(lines)
    changed[failed], changed[ended] = lines[ended], lines[failed]
    assert lanes(changed) != lanes(lines)
    assert lanes(lines[:-1]) != lanes(lines)


def test_lanes_are_the_same_if_things_that_happen_at_once_change_places():
    lines = recorded("queue-plain")
    queued = lines.index("S1 session.inbox.enqueued i3 user queue")
    changed = [*lines[:queued], lines[queued + 1], lines[queued], *lines[queued + 2 :]]
    assert lanes(changed) == lanes(lines)
