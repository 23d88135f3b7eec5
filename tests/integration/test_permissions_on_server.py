"""`evaluate` against the real server: for rules and texts, does the agent's tool run, ask or fail?

The tool is `task`. It asks for the permission "task" with whatever the model names as the sub-agent, and a
sub-agent of no known name fails at once: any text can be tried, and nothing happens.
"""

import json
import random
from concurrent.futures import ThreadPoolExecutor, wait

import httpx2
import pytest

from opencode_sessions.protocol.ids import new_message_id, new_part_id, new_session_id
from opencode_sessions.protocol.permissions import Rule, allow, ask, deny, evaluate, from_json, to_json

BLANKS = ["", " ", "a ", " a", "a b", "a  b", "a\tb", "a\nb", "a\n", "a\r\nb", "a\u2028b", "git push"]
PATHS = ["docs", "docs/", "docs/a.md", "docs\\a.md", "docs/a/b.md", "docs/.env", "docs/axmd", "/d", "\\d"]
SIGNS = ["*", "?", "**", "a*b", "a?b", "a.b", "a+b", "(a|b)", "[ab]", "{a}", "a$", "^a", "\\", "#a", "~a"]
LETTERS = ["a", "A", "ab", "abc", "git", "gitk", "é", "e\u0301", "😀", "a😀b", "ß", "İ"]
TEXTS = BLANKS + PATHS + SIGNS + LETTERS

STARS = ["*", "**", "a*", "*a", "*b", "a*b", "* *", " *", "a *", "a **", "*a*b*", "*\n", "a*\n", "a\n*", "A*"]
GLOBS = ["docs/*", "docs\\*", "docs/*.md", "docs/??md", "git *", "git*", "git?push", "/?", "~/*", "a\\*b"]
MARKS = ["?", "??", "a?b", "a??b", "a ?", "?*", "a?b*", "?\u0301", "e?"]
PLAIN = [
    "a.b",
    "a+b",
    "a|b",
    "(a|b)",
    "[ab]",
    "{a}",
    "a{1}",
    "a$",
    "^a",
    "\\",
    "\\d",
    ".*",
    "(?i)a",
    "é",
    "😀",
]
WILDCARDS = STARS + GLOBS + MARKS + PLAIN

PERMISSIONS = ["task"] * 3 + ["*", "t?sk", "t*", "task *", "*k", "tas", "Task", "task?", "edit", "t.sk"]
ACTIONS = ["allow", "ask", "deny"]
CHOSEN = [
    [deny("task"), allow("task", "docs/*"), ask("task", "docs/*.md"), deny("*", "*a/b*"), ask("*", "a *")],
    [ask("*"), allow("task", "git *"), deny("task", "a ?"), allow("t?sk", "?"), deny("task *", "??")],
    [allow("task"), deny("task", "a?b"), ask("task", "a??b"), deny("task", "*\n"), ask("task", "\\*")],
    [deny("edit"), ask("task", "* *"), deny("tas"), deny("Task"), deny("task?"), deny("task", "(a|b)")],
]


def all_trials():
    """Rules, each with the texts to try under them. The same in every run."""
    dice = random.Random(4)  # noqa: S311 - no secret
    return [(rules, dice.sample(TEXTS, 24)) for rules in CHOSEN + [random_rules(dice) for _ in range(6)]]


def random_rules(dice):
    """Rules that are mostly about the tool, with a last one that leaves it visible."""
    rules = [
        Rule(dice.choice(PERMISSIONS), dice.choice(WILDCARDS), dice.choice(ACTIONS))
        for _ in range(dice.randint(2, 14))
    ]
    return [Rule("*", "*", dice.choice(ACTIONS)), *rules, Rule("task", "a?b", dice.choice(ACTIONS))]


@pytest.fixture
def http(server):
    auth = (server.username, server.password)
    with httpx2.Client(base_url=server.url, auth=auth, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture
def agent_rules(http):
    (build,) = [agent for agent in http.get("/agent").json() if agent["name"] == "build"]
    return from_json(build["permission"])


def guarded_session(http, rules):
    session = new_session_id()
    http.post("/api/session", json={"id": session}).raise_for_status()
    guard = {"title": "permissions", "permission": to_json(rules)}
    http.patch(f"/session/{session}", json=guard).raise_for_status()
    return session


def run_calls(http, session, texts):
    """One turn with one step, in which the tool is called once for each text."""
    calls = [json.dumps({"description": "d", "prompt": "p", "subagent_type": text}) for text in texts]
    run_turn(http, session, "!tool task " + "\n!and task ".join(calls))


def run_turn(http, session, prompt):
    part = {"id": new_part_id(), "type": "text", "text": prompt}
    turn = {"messageID": new_message_id(), "parts": [part]}
    http.post(f"/session/{session}/message", json=turn).raise_for_status()


def answer_asks(http, until):
    """Answer every ask with `once` until the turns are over; return what was asked in which session."""
    asked = set()
    while not until.done():
        for request in http.get("/permission").json():
            (text,) = request["patterns"]
            asked.add((request["sessionID"], text))
            http.post(f"/permission/{request['id']}/reply", json={"reply": "once"})
        wait([until], timeout=0.02)
    return asked


def what_happened(http, trials):
    """Run a turn for each pair of rules and texts, all at once.

    Returns:
        For each trial what each text met: `allow`, `ask` or `deny`.
    """
    sessions = [guarded_session(http, rules) for rules, _ in trials]
    with ThreadPoolExecutor(len(trials) + 1) as pool:
        turns = [
            pool.submit(run_calls, http, session, texts)
            for session, (_, texts) in zip(sessions, trials, strict=True)
        ]
        asked = answer_asks(http, pool.submit(wait, turns))
    for turn in turns:
        turn.result()
    return [outcomes(http, session, asked) for session in sessions]


def outcomes(http, session, asked):
    seen = {}
    for message in http.get(f"/session/{session}/message").json():
        for part in message["parts"]:
            if part["type"] == "tool":
                text, error = part["state"]["input"]["subagent_type"], part["state"]["error"]
                if "rule which prevents" in error:
                    seen[text] = "deny"
                else:
                    assert "Unknown agent type" in error
                    seen[text] = "ask" if (session, text) in asked else "allow"
    return seen


@pytest.mark.full
def test_rules_decide_on_the_server_what_evaluate_says(http, agent_rules, scripted_model):
    trials = all_trials()
    expected = [
        {text: evaluate([*agent_rules, *rules], "task", text) for text in texts} for rules, texts in trials
    ]
    differences = [
        (rules, text, says, happened.get(text))
        for (rules, _), wanted, happened in zip(trials, expected, what_happened(http, trials), strict=True)
        for text, says in wanted.items()
        if says != happened.get(text)
    ]
    assert differences == []
    assert {action for wanted in expected for action in wanted.values()} == {"allow", "ask", "deny"}


def test_the_server_keeps_the_rules_as_they_were_sent(http):
    rules = [Rule("task", wildcard, "deny") for wildcard in WILDCARDS]
    session = guarded_session(http, rules)
    assert from_json(http.get(f"/session/{session}").json()["permission"]) == tuple(rules)


def test_a_session_that_was_never_guarded_has_no_rules(http):
    session = new_session_id()
    http.post("/api/session", json={"id": session}).raise_for_status()
    assert from_json(http.get(f"/session/{session}").json().get("permission")) == ()


@pytest.mark.parametrize(
    ("rules", "shown"), [([deny("task")], False), ([deny("task"), ask("task", "a")], True)]
)
def test_a_tool_that_is_denied_for_everything_is_not_even_shown(http, scripted_model, rules, shown):
    session = guarded_session(http, rules)
    run_turn(http, session, "hello")
    (call,) = [call for call in scripted_model.calls if call.session == session]
    assert ("task" in call.tools) == shown
    assert "read" in call.tools
