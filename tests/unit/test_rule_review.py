from __future__ import annotations

import pytest

from opencode_sessions import ASK_FIRST, READ_ONLY, READ_WRITE, TRUSTED, allow, ask, deny
from opencode_sessions.protocol.rule_review import review_rules

CLOSED = (deny("external_directory"), deny("read", "*.env*"))


@pytest.mark.parametrize("preset", [READ_ONLY, ASK_FIRST, READ_WRITE, TRUSTED])
def test_nothing_is_said_of_a_preset(preset):
    assert review_rules(preset) == []


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [allow("read")],
        [allow("*"), *CLOSED],
        [allow("*"), ask("external_directory"), deny("read")],
        [*CLOSED, allow("*"), *CLOSED],
        [allow("*"), *CLOSED, ask("bash"), ask("task")],
        [allow("*"), *CLOSED, ask("bash"), deny("task")],
        [allow("*"), *CLOSED, ask("bash"), allow("bash")],
        [allow("*"), *CLOSED, ask("question")],
        [ask("bash"), deny("*")],
    ],
)
def test_nothing_is_said_of_rules_that_leave_nothing_open(rules):
    assert review_rules(rules) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            [allow("*")],
            ["allow('*') opens files outside the agent's folder", "allow('*') opens dotenv files"],
        ),
        ([*CLOSED, allow("*")], ["opens files outside", "opens dotenv files"]),
        ([allow("*"), deny("read", "*.env*")], ["opens files outside the agent's folder as well"]),
        ([allow("*"), deny("external_directory")], ["opens dotenv files as well"]),
        ([allow("*", "/etc/*"), *CLOSED[1:]], ["allow('*', '/etc/*') opens files outside"]),
        ([allow("*"), *CLOSED, ask("bash"), ask("edit", "a*")], ["these rules ask for (bash, edit)"]),
        ([deny("shell")], ["deny('shell') has OpenCode 2's name of 'bash'"]),
        ([deny("subagent", "a*")], ["deny('subagent', 'a*') has OpenCode 2's name of 'task'"]),
        ([ask("webfetch")], ["these rules ask for (webfetch)"]),
    ],
)
def test_what_is_left_open_is_said(rules, said):
    found = review_rules(rules)
    assert len(found) == len(said)
    assert all(words in sentence for words, sentence in zip(said, found, strict=True))
