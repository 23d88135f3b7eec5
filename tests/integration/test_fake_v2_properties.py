"""Whatever is asked of the stand-in for a 2.x server, and however it is ended: what the contract promises holds."""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from fix_fake_v2 import V2Client, until
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from opencode_sessions.testing.v2.database import Database
from opencode_sessions.testing.v2.projection import project
from opencode_sessions.testing.v2.server import FakeServer

SESSIONS = ("ses_free", "ses_guarded")
ASK_SHELL = [{"action": "shell", "resource": "*", "effect": "ask"}]
LONG = '!tool shell {"command": "sleep 0.25"}'
PROMPTS = (
    "Hello",
    "!slow 0.01\n!say One two three four",
    LONG,
    LONG,
    '!tool shell {"command": "true"}',
    '!tool write {"path": "a.txt", "content": "x"}\n!and shell {"command": "true"}',
    f"!tool subagent {json.dumps({'agent': 'general', 'description': 'd', 'prompt': '!slow 0.01'})}",
    "!error 400 No",
    "!rate-limit 0 1\n!say After all",
    "!cut 1\n!say One two three four",
)
STARTED, DELIVERED, CANCELLED = (
    "session.execution.started",
    "session.inbox.delivered",
    "session.inbox.cancelled",
)
ENDS = ("session.execution.succeeded", "session.execution.failed", "session.execution.interrupted")


class Server(RuleBasedStateMachine):
    """Clients and operators of one server, who do anything at any time."""

    model = None
    prompts = Bundle("prompts")

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.server = FakeServer(self.model.config(), data=self.folder.name, retry_base=0.01).start()
        self.client = V2Client(self.server)
        self.count = 0
        self.admitted = {}
        for session_id, rules in zip(SESSIONS, ([], ASK_SHELL), strict=True):
            self.client.create(session_id, title="One", permissions=rules)

    @rule(
        target=prompts,
        session_id=st.sampled_from(SESSIONS),
        text=st.sampled_from(PROMPTS),
        delivery=st.sampled_from(["steer", "queue"]),
        resume=st.sampled_from([True, True, False]),
        pause=st.sampled_from([0, 0.02, 0.06, 0.06]),
    )
    def prompt(self, session_id, text, delivery, resume, pause):
        self.count += 1
        prompt_id = f"msg_{self.count}"
        self.client.prompt(session_id, text, id=prompt_id, delivery=delivery, resume=resume)
        self.admitted[prompt_id] = session_id
        time.sleep(pause)  # for the server to come further with it
        return prompt_id

    @rule(prompt_id=prompts, session_id=st.sampled_from(SESSIONS))
    def prompt_again(self, prompt_id, session_id):
        body = {"id": prompt_id, "text": "Something else"}
        status, _ = self.client.ask("POST", f"/api/session/{session_id}/prompt", body)
        gone = prompt_id in self.cancelled()
        if gone:  # an id that was cancelled is free again
            assert status == 200
            self.admitted[prompt_id] = session_id
        else:
            assert status == (200 if self.admitted[prompt_id] == session_id else 409)

    def cancelled(self):
        """The prompts that are in no inbox and in no session."""
        found = set()
        for prompt_id, session_id in self.admitted.items():
            waiting = [item["id"] for item in self.client.data("GET", f"/api/session/{session_id}/inbox")]
            status, _ = self.client.ask("GET", f"/api/session/{session_id}/message/{prompt_id}")
            if prompt_id not in waiting and status == 404:
                found.add(prompt_id)
        return found

    @rule(prompt_id=prompts)
    def cancel(self, prompt_id):
        status, _ = self.client.ask("DELETE", f"/api/session/{self.admitted[prompt_id]}/inbox/{prompt_id}")
        assert status == 204

    @rule(session_id=st.sampled_from(SESSIONS), resume=st.sampled_from(["true", "false"]))
    def interrupt(self, session_id, resume):
        self.client.interrupt(session_id, resume=resume)

    @rule(decision=st.sampled_from(["once", "reject"]), message=st.sampled_from([None, "No"]))
    def answer(self, decision, message):
        for asked in self.client.ask("GET", "/api/permission/request")[1]["data"]:
            path = f"/api/session/{asked['sessionID']}/permission/{asked['id']}/reply"
            assert self.client.ask("POST", path, {"decision": decision, "message": message})[0] in (204, 404)

    @rule(session_id=st.sampled_from(SESSIONS))
    def look(self, session_id):
        """See that the log has no gap while all goes on."""
        events = self.client.log(session_id)[:-1]
        assert [event["durable"]["seq"] for event in events] == list(range(len(events)))

    @rule(gracefully=st.booleans())
    def end(self, gracefully):
        """End the server, and start it again."""
        if gracefully:
            self.server.stop()
        else:
            self.server.kill()
        self.server.start()

    def teardown(self):
        try:
            for session_id in SESSIONS:
                self.client.interrupt(session_id)
                self.client.prompt(session_id, "!say The end")  # what is parked is delivered after it
                while self._waits(session_id):
                    self.client.prompt(session_id, "!say The end")  # a prompt before it failed
            until(self._is_idle, timeout=60)
            for session in self.client.data("GET", "/api/session", limit=1000):
                self._check_log(session["id"])  # subagents' sessions, too
            for session_id in SESSIONS:
                self._check(session_id)
        finally:
            with closing(self.client):
                self.server.stop()
            self.folder.cleanup()

    def _waits(self, session_id):
        """Work off what is in the inbox. Returns whether something stays there."""
        until(self._is_idle, timeout=60)
        return self.client.data("GET", f"/api/session/{session_id}/inbox")

    def _is_idle(self):
        self.answer("once", None)
        return not self.client.data("GET", "/api/session/active")

    def _check_log(self, session_id):
        events = self.client.log(session_id)[:-1]
        assert [event["durable"]["seq"] for event in events] == list(range(len(events)))
        assert without_progress(self.client.messages(session_id)) == without_progress(messages_of(events))

    def _check(self, session_id):
        events = self.client.log(session_id)[:-1]
        check_prompts(events, [one for one, owner in self.admitted.items() if owner == session_id])
        check_executions(events)
        check_tools(events)
        assert self.client.data("GET", f"/api/session/{session_id}/inbox") == []


def check_prompts(events, admitted):
    """Each prompt is delivered once or cancelled, and as often as it was admitted."""
    for prompt_id in admitted:
        fates = [event["type"] for event in events if event["data"].get("inboxID") == prompt_id]
        assert fates[0] == "session.inbox.enqueued"
        assert fates.count(DELIVERED) + fates.count(CANCELLED) == fates.count("session.inbox.enqueued")
        assert fates.count(DELIVERED) <= 1


def check_executions(events):
    """Each execution has one end, unless the server was killed in it; then another one goes on with it."""
    running = False
    for event, before in zip(events, [None, *events], strict=False):
        if event["type"] == STARTED:
            cut_off = before["type"] == "session.synthetic" and "restarted" in before["data"]["text"]
            assert not running or cut_off
            running = True
        elif event["type"] in ENDS:
            assert running
            running = False
    assert not running


def check_tools(events):
    """Each tool that was called has come to one thing, before the end of its step."""

    def calls(kind):
        return sorted(
            (event["data"]["assistantMessageID"], event["data"]["id"])
            for event in events
            if event["type"] in kind
        )

    begun = calls(["session.tool.input.started"])
    assert calls(["session.tool.success", "session.tool.failed"]) == begun
    assert len(set(begun)) == len(begun)
    over = set()
    for event in events:
        if event["type"] in ("session.step.ended", "session.step.failed"):
            over.add(event["data"]["assistantMessageID"])
        elif event["type"].startswith("session.tool."):
            assert event["data"]["assistantMessageID"] not in over


def messages_of(events):
    """The messages that follow from a log alone."""
    with tempfile.TemporaryDirectory() as folder, closing(Database(Path(folder) / "again.db")) as database:
        for event in events:
            project(database, event)
        return database.messages(events[0]["data"]["sessionID"])


def without_progress(messages):
    return [
        {**message, "content": [without_metadata(part) for part in message["content"]]}
        if message["type"] == "assistant"
        else message
        for message in messages
    ]


def without_metadata(part):
    """A part without what a tool told while it ran, which is in no log."""
    if part["type"] != "tool" or part["state"]["status"] != "running":
        return part
    return {**part, "state": {**part["state"], "metadata": {}}}


@pytest.mark.parametrize(
    ("examples", "steps"), [(6, 12), pytest.param(30, 25, marks=pytest.mark.full)], ids=["quick", "long"]
)
def test_prompts_executions_and_tools_come_to_one_end_each(scripted_model, examples, steps):
    machine = type("Server", (Server,), {"model": scripted_model})
    options = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(machine, settings=options)
