"""Turns of the real server, shown while they run: what is recorded ages, the server does not wait."""

from __future__ import annotations

import json

import httpx2

from opencode_sessions import Answer, Observer, Session, Turn, allow, ask
from opencode_sessions.display import (
    Command,
    Diff,
    Given,
    Text,
    Todos,
    Tool,
    display,
    display_ask,
    display_message,
    read_answer,
)
from opencode_sessions.display.tools.registry import TOOLS
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord

TODO = {"content": "look", "status": "in_progress", "priority": "high"}
QUESTION = {"question": "Go?", "header": "Go", "options": [{"label": "Yes", "description": "on"}]}


def tool(name, /, **arguments):
    return f"!tool {name} {json.dumps(arguments)}\n"


class Screen(Observer):
    """Shows all parts at every change, as a page would."""

    def __init__(self):
        self.seen = []

    def changed(self, change, reply):
        self.seen += display(reply.to_json(), status="streaming")


def run(client, prompt, rules, on_ask=None):
    screen = Screen()
    session = Session(MemoryRecord("Shop"), permissions_for=lambda _: rules)
    result = Turn(MemoryMessage(prompt), session, client, on_ask=on_ask, observer=screen).run()
    return result, screen.seen


def test_every_tool_of_this_server_is_known(server):
    found = httpx2.get(
        f"{server.url}/experimental/tool/ids",
        auth=(server.username, server.password),
        trust_env=False,
        timeout=60,
    )
    assert set(found.json()) <= set(TOOLS)


def test_a_turn_is_shown_well_at_every_moment(place, tmp_path):
    prompt = (
        "!reason hm\n"
        + tool("write", filePath="a.txt", content="one\n")
        + tool("edit", filePath="a.txt", oldString="one", newString="two")
        + tool("read", filePath="a.txt")
        + tool("bash", command="cat a.txt; sleep 0.3; exit 2", description="look")
        + tool("todowrite", todos=[TODO])
        + "!say all **done**"
    )
    result, seen = run(place, prompt, [allow("*")])
    cards = [each for each in seen if isinstance(each, Tool)]
    assert {(each.tool, each.state) for each in cards} >= {
        ("bash", "running"),
        ("bash", "done"),
        ("edit", "done"),
    }
    assert {each.kind for each in cards} == {"write", "edit", "read", "command", "todos"}
    assert {each.verb for each in cards if each.tool == "bash"} <= {"About to run", "Running", "Ran"}

    shown = display_message(result, root=str(tmp_path))
    ended = {each.tool: each for each in shown.parts if isinstance(each, Tool)}
    assert [each.title for each in ended.values()] == [
        "Wrote a.txt",
        "Edited a.txt",
        "Read a.txt",
        "Ran cat a.txt; sleep 0.3; exit 2",
        "Updated the todo list",
    ]
    assert isinstance(ended["edit"].detail, Diff)
    assert isinstance(ended["bash"].detail, Command)
    assert (ended["bash"].note, ended["bash"].detail.output) == ("exit 2", "two")
    assert [each.markdown for each in shown.parts if isinstance(each, Text)] == ["all **done**"]
    assert any(isinstance(each, Todos) for each in shown.parts)
    assert (shown.error, shown.status) == (None, "completed")


def test_what_a_form_says_answers_the_agent(place):
    shown = []

    def fill_in(asked):
        found = display_ask(asked.to_json())
        shown.append(found)
        filled = {"ask": [found.id], "shown": [found.shown], "answer": ["once"], "answer-0": ["Yes"]}
        given = read_answer(filled, found)
        assert isinstance(given, Given)
        return Answer(given.reply, given.labels, given.message)

    prompt = (
        tool("bash", command="echo hi", description="greet")
        + tool("question", questions=[QUESTION])
        + "!say ok"
    )
    result, _ = run(place, prompt, [allow("*"), ask("bash")], on_ask=fill_in)
    assert [each.title for each in shown] == ["Run echo hi", "Go?"]
    greeted, asked = (each for each in display(result.parts) if isinstance(each, Tool))
    assert (greeted.state, greeted.detail.output) == ("done", "hi")
    assert asked.detail.questions[0].answers == ("Yes",)
