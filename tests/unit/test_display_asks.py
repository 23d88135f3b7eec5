"""Asks and errors in words, and the form that an ask is answered with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from display_recordings import recording

from opencode_sessions import errors
from opencode_sessions.display import (
    Command,
    Data,
    Diff,
    Given,
    Option,
    PermissionAsk,
    QuestionAsk,
    display_ask,
    display_error,
    read_answer,
)
from opencode_sessions.display.errors import _KNOWN
from opencode_sessions.display.forms import answer_field, own_field
from opencode_sessions.services.asks import Ask

DOCS = Path(__file__).parents[2] / "docs"


def asked(permission, **more):
    return display_ask(
        Ask(id="per_1", kind="permission", session_id="ses_1", permission=permission, **more).to_json()
    )


def two_questions():
    (ask,) = recording("questions")["asks"]
    return display_ask(ask)


def test_real_permissions_say_what_the_agent_wants_to_do():
    found = recording("asks")
    titles = [display_ask(ask, found["parts"]).title for ask in found["asks"]]
    assert titles == [
        "Run rm -rf build && git push",
        "Edit notes.md",
        "Create new.txt",
        "Use files outside of the project: /etc/hostname",
        "Read ../../etc/hostname",
        "Fetch http://shop.example/",
        "Use GitHub: create issue",
        "Look for *.md",
        "Search for milk",
        "Delegate Count",
        "Load the skill refunds",
        "Update the todo list",
        "Ask the language server for hover",
        "Read memo://guide of GitHub",
    ]


def test_an_edit_is_asked_for_with_its_diff():
    ask = display_ask(recording("asks")["asks"][1])
    assert isinstance(ask, PermissionAsk)
    assert isinstance(ask.detail, Diff)
    assert ask.detail.note == "+1 \N{MINUS SIGN}1"
    (patch,) = recording("patches")["asks"]
    assert [file.change for file in display_ask(patch).detail.files] == ["add", "edit", "delete"]


def test_a_deletion_is_called_one():
    diff = "--- a.txt\n+++ a.txt\n@@ -1,1 +0,0 @@\n-x\n"
    assert asked("edit", patterns=("a.txt",), metadata={"diff": diff}).title == "Delete a.txt"


def test_a_command_of_several_lines_is_shown_whole_below_its_line():
    command = "cat <<EOF\n  rm\nEOF"
    ask = asked("bash", metadata={"command": command}, patterns=("cat",))
    assert (ask.target, ask.detail) == ("cat <<EOF rm EOF", Command(command=command))
    assert asked("bash", metadata={"command": "ls"}).detail is None


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({}, None),
        ({"description": "List them"}, Command(command="", description="List them")),
        (
            {"description": "List them", "workdir": "/tmp"},  # noqa: S108 - nothing is put there
            Command(command="ls", description="List them", folder="/tmp"),  # noqa: S108 - likewise
        ),
    ],
)
def test_a_command_that_its_line_says_whole_is_not_shown_again_unless_it_runs_elsewhere(given, detail):
    part = {
        "type": "tool",
        "tool": "bash",
        "call_id": "c1",
        "status": "running",
        "input": {"command": "ls", **given},
    }
    ask = {
        "kind": "permission",
        "permission": "bash",
        "call_id": "c1",
        "session_id": "ses_1",
        "metadata": {"command": "ls"},
    }
    assert display_ask(ask, [part]).detail == detail


def test_nobody_gives_leave_to_what_he_sees_the_beginning_of():
    url = "https://good.example/?" + "a" * 1_000 + "&to=evil"
    ask = asked("webfetch", metadata={"url": url}, patterns=(url,))
    assert (ask.target, ask.patterns) == (url, ())
    endless = asked("webfetch", metadata={"url": url * 9}, patterns=(url * 9,))
    assert endless.target.endswith("…")


def test_what_is_touched_and_not_said_is_told():
    ask = asked("external_directory", patterns=("/etc/*",), metadata={"command": "ls /etc"})
    assert (ask.title, ask.patterns) == ("Use files outside of the project: /etc/*", ())
    assert ask.detail == Command(command="ls /etc")
    assert asked("task", patterns=("general",), metadata={"description": "Count"}).patterns == ("general",)


def test_what_always_would_allow_is_told_where_the_row_says_it():
    told = {
        "kind": "permission",
        "permission": "bash",
        "always": ["git push *"],
        "metadata": {"command": "git push"},
    }
    assert display_ask(told).always == ("git push *",)
    assert not display_ask(told).always_all
    assert display_ask(told | {"always": ["*"]}).always_all
    assert asked("bash").always == ()


def test_a_tool_that_is_not_known_is_asked_for_with_what_it_is_given():
    part = {
        "type": "tool",
        "tool": "github_create_issue",
        "call_id": "c1",
        "status": "running",
        "input": {"title": "Milk"},
    }
    ask = {"kind": "permission", "permission": "github_create_issue", "call_id": "c1", "session_id": "ses_1"}
    assert display_ask(ask, [part]).detail == Data(given='{\n  "title": "Milk"\n}')


def test_a_sub_agents_ask_shows_nothing_of_a_call_of_the_same_id():
    """A provider may count its calls in each session anew: the ids of two sessions can be the same."""
    part = {
        "type": "tool",
        "tool": "github_x",
        "call_id": "c1",
        "status": "running",
        "input": {"title": "Milk"},
    }
    task = {
        "type": "tool",
        "tool": "task",
        "call_id": "c2",
        "status": "running",
        "metadata": {"sessionId": "ses_2"},
    }
    ask = {"kind": "permission", "permission": "github_x", "call_id": "c1", "session_id": "ses_2"}
    assert display_ask(ask, [part, task]).detail is None
    assert display_ask({**ask, "permission": "github_y", "session_id": "ses_1"}, [part, task]).detail is None


def test_a_loop_is_asked_about_in_words():
    ask = asked("doom_loop", patterns=("bash",), metadata={"tool": "bash", "input": {}})
    assert ask.title == "Go on, though it repeats itself: bash"


def test_questions_have_their_options_and_may_take_an_answer_of_ones_own():
    ask = two_questions()
    assert isinstance(ask, QuestionAsk)
    first, second = ask.questions
    assert (first.header, first.text, first.multiple) == ("Rounding", "How should prices be rounded?", False)
    assert first.options[0] == Option("To the cent", "As the shop's till does it")
    assert (second.multiple, second.own_answer) == (True, True)
    strict = display_ask({"kind": "question", "questions": [{"question": "Go?", "custom": False}]})
    assert (strict.questions[0].own_answer, strict.title) == (False, "Go?")


def test_a_form_says_what_was_chosen():
    ask = two_questions()
    filled = {
        "ask": [ask.id],
        "answer": ["once"],
        "answer-0": ["Not at all", "Injected"],
        "answer-1": ["Krone", "Euro"],
        "own-1": [" Pound "],
    }
    assert read_answer(filled, ask) == Given(ask.id, "once", (("Not at all",), ("Euro", "Krone", "Pound")))


def test_an_own_answer_stands_in_the_place_of_a_single_choice():
    ask = two_questions()
    filled = {"ask": [ask.id], "answer": ["once"], "answer-0": ["Not at all"], "own-0": ["Up"]}
    assert read_answer(filled, ask).labels == (("Up",), ())


def test_a_question_that_takes_no_own_answer_is_given_none():
    ask = display_ask({"id": "q", "kind": "question", "questions": [{"question": "Go?", "custom": False}]})
    assert read_answer({"ask": ["q"], "answer": ["once"], "own-0": ["No"]}, ask).labels == ((),)


def test_a_refusal_may_have_a_word_to_the_agent():
    ask = asked("bash")
    refused = {"ask": ["per_1"], "answer": ["reject"], "message": ["  Use make.  "]}
    assert read_answer(refused, ask) == Given("per_1", "reject", (), "Use make.")
    assert read_answer({**refused, "message": [" "]}, ask).message is None
    assert read_answer({**refused, "answer": ["always"]}, ask) == Given("per_1", "always")


@pytest.mark.parametrize(
    "filled", [{}, {"ask": ["per_1"]}, {"answer": ["once"]}, {"ask": ["per_2"], "answer": ["once"]}]
)
def test_what_is_no_such_form_is_refused(filled):
    with pytest.raises(errors.ConfigurationError, match="the form needs a field `ask` that is 'per_1'"):
        read_answer(filled, asked("bash"))


def test_the_fields_of_a_question_are_named_after_its_place():
    assert [(answer_field(question), own_field(question)) for question in two_questions().questions] == [
        ("answer-0", "own-0"),
        ("answer-1", "own-1"),
    ]


def test_every_end_that_the_docs_name_has_a_sentence():
    rows = re.findall(r"\| failed \| (.*?) \|", (DOCS / "turns.md").read_text())
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"status", "retryable"}
    assert {"EmptyAnswer", "SilenceTimeoutError", "Overtaken", "StaleSessionError"} <= names
    assert names <= set(_KNOWN)


def test_every_error_that_can_end_a_turn_has_a_sentence():
    ends = {name for name in errors.__all__ if issubclass(getattr(errors, name), errors.WireError)}
    groups = {"WireError", "StatusError", "NotFoundError"}
    assert ends - groups <= set(_KNOWN)


def test_an_error_says_what_happened_what_to_do_and_whether_to_try_again():
    silent = display_error({"name": "SilenceTimeoutError", "message": "nothing was heard for 300 s"})
    assert (silent.title, silent.advice, silent.text, silent.retry) == (
        "The agent fell silent",
        "Try again.",
        "nothing was heard for 300 s",
        True,
    )
    assert display_error(None) is None
    assert display_error({"name": "SomethingNewError", "message": "x"}).title == "Something new"


@pytest.mark.parametrize(
    ("error", "title", "retry"),
    [
        ({"status": 429, "retryable": True}, "The model's provider is asked too often", True),
        ({"status": 503, "retryable": True}, "The model's provider has trouble", True),
        ({"status": 401, "retryable": False}, "The model's provider refused the key", False),
        ({"status": 400, "retryable": False}, "The model's provider refused the request", False),
    ],
)
def test_a_providers_error_is_told_by_its_status(error, title, retry):
    found = display_error({"name": "APIError", "message": "no", **error})
    assert (found.title, found.retry) == (title, retry)


def test_what_somebody_stopped_is_no_error():
    assert display_error({"name": "Cancelled", "by": "ada"}).title == "Stopped by ada"
    assert display_error({"name": "Cancelled", "by": "caller"}).title == "Stopped"
    assert display_error({"name": "MessageAbortedError"}).stopped
    refused = display_error({"name": "Stopped", "message": "a permission or a question was rejected"})
    assert (refused.stopped, refused.text) == (True, "")
