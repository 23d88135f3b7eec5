"""Turns of the real server, each followed by its events and read from its store: both end in the same reply."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from fix_server import LEAN

from opencode_sessions import Client, allow, ask, deny
from opencode_sessions.protocol.events import (
    Event,
    PartChanged,
    PartDelta,
    PermissionAsked,
    QuestionAsked,
    SessionIdle,
)
from opencode_sessions.protocol.ids import new_message_id, new_part_id
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.protocol.values import Message
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.server.managed import OpencodeServer
from opencode_sessions.testing import DEFAULT_RULE, Call, Refusal, Rule, Script, Step
from opencode_sessions.turns.exchange import read_exchange

pytestmark = pytest.mark.full

SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
QUESTION = {"question": "Go?", "header": "Go", "options": [{"label": "Yes", "description": "on"}]}
TO_DO = {"content": "look", "status": "pending", "priority": "high"}
DONE = TO_DO | {"status": "completed"}


def tool(name, verb="tool", **arguments):
    return f"!{verb} {name} {json.dumps(arguments)}\n"


def task(prompt, verb="tool"):
    return tool("task", verb, description="count", subagent_type="general", prompt=prompt)


def bash(command, verb="tool"):
    return tool("bash", verb, command=command, description="run")


@dataclass(frozen=True)
class Scenario:
    """A turn: what is asked, and a pattern of the parts that it ends in, as `kind` or `tool status`."""

    prompt: str
    parts: str
    before: str | None = None
    rules: tuple[Any, ...] = (allow("*"),)
    answer: str = "once"
    abort_at: Callable[[Event], bool] | None = None
    format: dict[str, Any] | None = None
    in_git: bool = False


def says(word):
    return lambda event: isinstance(event, PartDelta) and event.delta.strip() == word


def prints(text):
    def looks(event):
        state = event.part.get("state", {}) if isinstance(event, PartChanged) else {}
        return text in (state.get("metadata") or {}).get("output", "")

    return looks


SCENARIOS = {
    "plain text": Scenario("good morning", "text"),
    "reasoning": Scenario("!reason I should think\n!say done", "reasoning, text"),
    "several tools in one message and in several": Scenario(
        "!reason hm\n!say first I look\n"
        + bash("echo hi")
        + tool("read", "and", filePath="nowhere.txt")
        + tool("write", filePath="a.txt", content="one\n")
        + tool("edit", filePath="a.txt", oldString="one", newString="two")
        + "!say all done",
        "reasoning, text, bash completed, read error, write completed, edit completed, text",
    ),
    "files that a snapshot sees": Scenario(
        tool("write", filePath="b.txt", content="one\n") + "!say ok",
        "write completed, patch, text",
        in_git=True,
    ),
    "a tool that there is not": Scenario(tool("nosuch", a=1) + "!say ok", "invalid completed, text"),
    "a tool that is denied": Scenario(
        bash("echo hi") + "!say ok", "invalid completed, text", rules=(deny("bash"),)
    ),
    "output that grows": Scenario(
        bash("for i in 1 2 3; do echo $i; sleep 0.2; done") + "!say ok", "bash completed, text"
    ),
    "a todo list": Scenario(
        tool("todowrite", todos=[TO_DO]) + tool("todowrite", todos=[DONE]) + "!say ok",
        "todowrite completed, todowrite completed, text, todos",
    ),
    "two sub-agents at once": Scenario(
        task("!reason sub thinks\n" + bash("echo sub") + "!say sub says")
        + task("!say other", "and")
        + "!say ok",
        "task completed, task completed, text",
    ),
    "a sub-agent that must ask": Scenario(
        task(tool("read", filePath="/etc/hostname") + "!say sub ok") + "!say fine",
        "task completed, text",
        rules=(allow("*"), ask("external_directory")),
    ),
    "an abort in the middle of the text": Scenario(
        "!slow 0.3\n!say one two " + "three " * 40, "text", abort_at=says("two")
    ),
    "an abort while a tool runs": Scenario(
        # The tool and the server both end it, whichever is first.
        bash("echo begun; sleep 90"),
        "bash (completed|error)",
        abort_at=prints("begun"),
    ),
    "an abort while a sub-agent speaks": Scenario(
        task("!slow 0.3\n!say one two " + "three " * 40), "task error", abort_at=says("two")
    ),
    "a provider's error": Scenario("!error 400 on holiday", ""),
    "a rate limit that is waited out": Scenario("!rate-limit 1\n!say at last", "text"),
    "a stream that is cut and asked for again": Scenario(
        "!reason hm\n!slow 0.15\n!cut 1\n!say " + "word " * 8,
        "reasoning, (text, )?reasoning, text",  # a busy server may not have stored the one word that came
    ),
    "a question that is answered": Scenario(
        tool("question", questions=[QUESTION]) + "!say ok", "question completed, text"
    ),
    "a question that is rejected": Scenario(
        tool("question", questions=[QUESTION]) + "!say ok", "question error", answer="reject"
    ),
    "a permission that is rejected": Scenario(
        bash("echo hi") + "!say ok", "bash error", rules=(ask("bash"),), answer="reject"
    ),
    "a conversation that is compacted": Scenario("grow too long", "bash completed, text", before="hello"),
    "an answer after a schema": Scenario(
        "structure it",
        "reasoning, StructuredOutput completed",
        format={"type": "json_schema", "schema": SCHEMA},
    ),
    "a schema that the model ignores": Scenario(
        "just talk", "text", format={"type": "json_schema", "schema": SCHEMA}
    ),
}


@dataclass
class Recording:
    """What was heard of a turn, and what is stored of it."""

    session_id: str
    prompt_id: str
    events: list[Event] = field(default_factory=list)
    stored: list[Message] = field(default_factory=list)

    def live(self, events=None):
        reply = Reply(self.session_id, self.prompt_id)
        for event in self.events if events is None else events:
            reply.apply(event)
        return reply

    def read(self):
        return Reply.of(self.session_id, self.prompt_id, self.stored)


def script_rules():
    """The directives, and three prompts that need a model of their own."""
    refused = []

    def too_long_once(request):
        step = Step(calls=(Call("bash", {"command": "echo one", "description": "run"}),))
        if refused:
            return Script(Step(say="the answer after all"))
        if request.tool_results:
            refused.append(True)
        return Script(step, Step(trouble=Refusal(400, "prompt is too long: 250000 tokens > 200000 maximum")))

    return (
        Rule(when="conversation so far", reply=Script(Step(say="a summary"))),
        Rule(when="grow too long", reply=too_long_once),
        Rule(
            when="structure it",
            reply=Script(Step(reason="hm", calls=(Call("StructuredOutput", {"answer": 42}),))),
        ),
        DEFAULT_RULE,
    )


@pytest.fixture(scope="module")
def recordings(server, scripted_model, tmp_path_factory):
    """Every scenario, recorded; a few at a time."""
    folder = tmp_path_factory.mktemp("git")
    (folder / "seed.txt").write_text("seed\n")
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "seed"]):
        subprocess.run([*git, *arguments], check=True)
    rules, scripted_model.rules = scripted_model.rules, script_rules()
    config = scripted_model.config() | {"snapshot": True}
    with (
        OpencodeServer(config=config, directory=folder, **LEAN) as snapping,
        Client(server.url, password=server.password) as client,
        Client(snapping.url, password=snapping.password) as in_git,
        ThreadPoolExecutor(6) as pool,
    ):
        running = {
            name: pool.submit(record, in_git if scenario.in_git else client, server, scenario)
            for name, scenario in SCENARIOS.items()
        }
        yield {name: future.result() for name, future in running.items()}
    scripted_model.rules = rules


def record(client, server, scenario):
    session_id = client.create(rules=scenario.rules).id
    if scenario.before:
        follow(client, Recording(session_id, client.prompt(session_id, scenario.before)), scenario)
    recording = Recording(session_id, new_message_id())
    return follow(client, recording, scenario, send=lambda: send(client, server, recording, scenario))


def send(client, server, recording, scenario):
    if scenario.format is None:
        client.prompt(recording.session_id, scenario.prompt, message_id=recording.prompt_id)
        return
    body = {
        "messageID": recording.prompt_id,
        "parts": [{"id": new_part_id(), "type": "text", "text": scenario.prompt}],
        "format": scenario.format,
    }
    url = f"{server.url}/session/{recording.session_id}/prompt_async"
    httpx2.post(
        url, json=body, auth=(server.username, server.password), trust_env=False, timeout=100
    ).raise_for_status()


def follow(client, recording, scenario, send=lambda: None):
    """Until the session is quiet and its events have caught up with what is stored, or a minute after its idle."""
    idle_since, aborted = None, False
    with client.subscribe(recording.session_id) as events:
        send()
        while True:
            event = events.next(0.2)
            if event is not None:
                recording.events.append(event)
                react(client, event, scenario)
                if scenario.abort_at and not aborted and scenario.abort_at(event):
                    aborted = True
                    client.abort(recording.session_id)
                if isinstance(event, SessionIdle) and event.session_id == recording.session_id:
                    idle_since = idle_since or time.monotonic()
            elif idle_since and not client.busy(recording.session_id):
                exchange = read_exchange(client._core, recording.session_id, recording.prompt_id)
                recording.stored = run_sync(exchange)
                caught_up = facts(recording.live()) == facts(recording.read())
                if caught_up or time.monotonic() > idle_since + 60:
                    return recording


def react(client, event, scenario):
    match event:
        case PermissionAsked():
            client.answer_permission(event.session_id, event.request_id, scenario.answer)
        case QuestionAsked() if scenario.answer == "reject":
            client.reject_question(event.request_id)
        case QuestionAsked():
            client.answer_question(event.request_id, [["Yes"]])


def without_progress(reply):
    """The one thing that the server tells and does not store with the exchange."""
    return [{name: value for name, value in part.items() if name != "progress"} for part in reply.to_json()]


def facts(reply):
    return {
        "parts": without_progress(reply),
        "text": reply.text,
        "structured": reply.structured,
        "error": reply.error,
        "final": reply.final,
        "cost": reply.cost,
        "tokens": reply.tokens,
        "todos": reply.todos,
    }


def outline(reply):
    return ", ".join(
        f"{part['tool']} {part['status']}" if part["type"] == "tool" else part["type"]
        for part in reply.to_json()
    )


@pytest.fixture(params=SCENARIOS)
def name(request):
    return request.param


def test_the_events_and_the_store_give_the_same_reply(recordings, name):
    recording = recordings[name]
    assert re.fullmatch(SCENARIOS[name].parts, outline(recording.read()))
    assert facts(recording.live()) == facts(recording.read())


def test_settling_what_was_followed_changes_nothing(recordings, name):
    reply = recordings[name].live()
    before = reply.to_json()
    assert reply.settle(recordings[name].stored) == []
    assert reply.to_json() == before
    json.dumps(before, allow_nan=False)


def test_settling_mends_whatever_was_missed(recordings, name):
    recording = recordings[name]
    for place in range(len(recording.events)):
        reply = recording.live(recording.events[:place])
        reply.settle(recording.stored)
        assert facts(reply) == facts(recording.read())


def test_events_that_are_older_than_what_was_read_undo_nothing(recordings, name):
    recording = recordings[name]
    for place in range(len(recording.events)):
        reply = recording.live(recording.events[:place])
        reply.absorb(recording.stored)
        told = [change.delta for event in recording.events[place:] for change in reply.apply(event)]
        assert without_progress(reply) == without_progress(recording.read())
        assert not any(told) or "sub-agent" in name


def test_thoughts_and_calls_tell_when_they_began_and_ended(recordings):
    reply = recordings["several tools in one message and in several"].live()
    timed = [part.time for part in reply.parts.values() if part.type in ("reasoning", "tool")]
    assert timed
    assert all(0 < time["start"] <= time["end"] for time in timed)


def test_what_sub_agents_did_shows_under_their_calls(recordings):
    first, second = (part.progress for part in recordings["two sub-agents at once"].live().tools)
    assert first.steps == [{"tool": "bash", "title": "echo sub", "status": "completed"}]
    assert (first.text, second.text) == ("sub says", "other")
    assert first.status == second.status == "idle"
    assert first.session_id != second.session_id


def test_a_sub_agent_that_waits_for_a_person_says_so(recordings):
    recording = recordings["a sub-agent that must ask"]
    reply, seen = Reply(recording.session_id, recording.prompt_id), []
    for event in recording.events:
        seen += [part.to_json().get("progress") for part in [c.part for c in reply.apply(event)]]
    waiting = [progress for progress in seen if progress and progress["status"] == "waiting"]
    assert waiting
    assert waiting[0]["waits_for"] == ["external_directory"]
    assert reply.tools[0].progress.waits_for == []


def test_what_a_cut_stream_had_said_is_taken_back(recordings):
    reply = recordings["a stream that is cut and asked for again"].live()
    assert reply.text == ("word " * 8).strip()


def test_a_compacted_answer_is_followed_live_and_its_first_error_is_not_the_end(recordings):
    recording = recordings["a conversation that is compacted"]
    assert recording.live().text == "the answer after all"
    assert recording.live().error is None
    assert len({message.parent_id for message in recording.live().messages.values()}) == 2


def test_the_summary_of_a_compacted_answer_is_in_its_bill(recordings):
    reply = recordings["a conversation that is compacted"].live()
    assert reply.cost > sum(message.cost for message in reply.messages.values())


def test_a_structured_answer_is_a_tool_call_that_ends_the_turn(recordings):
    reply = recordings["an answer after a schema"].live()
    assert (reply.structured, reply.final, reply.last.finish) == ({"answer": 42}, True, "tool-calls")
    ignored = recordings["a schema that the model ignores"].live()
    assert (ignored.structured, ignored.error["name"]) == (None, "StructuredOutputError")


def test_the_todo_list_can_be_read_after_a_gap(recordings, client):
    recording = recordings["a todo list"]
    assert recording.live().todos == recording.read().todos == (DONE,)
    assert client.todos(recording.session_id) == (DONE,)
