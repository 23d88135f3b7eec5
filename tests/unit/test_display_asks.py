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
    Fact,
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
from opencode_sessions.turns.asks import Ask

DOCS = Path(__file__).parents[2] / "docs"


def asked_json(permission, **more):
    return Ask(id="per_1", kind="permission", session_id="ses_1", permission=permission, **more).to_json()


def asked(permission, parts=(), **more):
    return display_ask(asked_json(permission, **more), parts)


def agreed(ask):
    """The fields of a form that shows this."""
    return {"ask": [ask.id], "shown": [ask.shown], "answer": ["once"]}


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
    assert (ask.target, ask.detail) == ("cat <<EOF … (3 lines)", Command(command=command))
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


def call(tool, **given):
    return {"type": "tool", "tool": tool, "call_id": "c1", "status": "running", "input": given}


def test_what_neither_title_nor_detail_tell_is_a_fact():
    prompt = "Count them.\nThen \x1b]0; delete them."
    metadata = {"description": "Count", "subagent_type": "general"}
    part = call("task", description="Count", subagent_type="general", prompt=prompt)
    ask = asked("task", [part], patterns=("general",), metadata=metadata, call_id="c1")
    assert (ask.title, ask.patterns) == ("Delegate Count", ("general",))
    assert ask.facts == (Fact("prompt", "Count them.\nThen ‹\\x1b›]0; delete them."),)
    grep = asked("grep", patterns=("milk",), metadata={"pattern": "milk", "path": "/etc", "include": None})
    assert grep.facts == (Fact("path", "/etc"),)
    command = {"command": "ls", "description": "List", "timeout": 9}
    bash = asked("bash", [call("bash", **command)], metadata={"command": "ls"}, call_id="c1")
    assert (bash.detail, bash.facts) == (Command(command="", description="List"), (Fact("timeout", "9"),))
    other = asked("bash", [call("bash", command="rm")], metadata={"command": "ls"}, call_id="c1")
    assert other.facts == (Fact("command", "rm"),)


def test_it_is_said_where_nobody_knows_what_a_tool_is_given():
    assert asked("github_create_issue", patterns=("*",)).untold
    assert asked("github_create_issue", patterns=("*",)).facts == (Fact("tool", "github_create_issue"),)
    assert not asked(
        "github_create_issue", [call("github_create_issue")], patterns=("*",), call_id="c1"
    ).untold
    assert not asked("bash", patterns=("ls",)).untold


def test_an_edits_files_are_those_of_its_diff_and_not_shown_twice():
    diff = "Index: /srv/shop/a.py\n===\n--- /srv/shop/a.py\n+++ /srv/shop/a.py\n@@ -0,0 +1,1 @@\n+x\n"
    diff = diff.replace("===", "=" * 67)
    metadata = {"filepath": "/srv/shop/a.py", "diff": diff}
    part = call("write", filePath="a.py", content="x\n")
    ask = asked("edit", [part], patterns=("a.py",), metadata=metadata, call_id="c1")
    assert (ask.title, ask.facts, ask.patterns) == ("Create a.py", (), ())
    odd = asked("edit", patterns=("a.py",), metadata={**metadata, "diff": f"{diff}and more\n"})
    assert odd.detail is None
    assert odd.facts == (Fact("diff", f"{diff}and more"),)


@pytest.mark.parametrize(
    ("pattern", "path", "root", "shown"),
    [
        ("etc/passwd", "/etc/passwd", None, "/etc/passwd"),  # in a folder without Git the worktree is /
        ("srv/shop/a.py", "/srv/shop/a.py", "/srv/shop", "a.py"),
        ("a.py", "/srv/shop/a.py", None, "a.py"),
        ("../x.py", "/srv/x.py", "/srv/shop", "/srv/x.py"),
    ],
)
def test_a_path_outside_of_the_folder_keeps_its_slash(pattern, path, root, shown):
    ask = asked_json("edit", patterns=(pattern,), metadata={"filepath": path})
    assert display_ask(ask, root=root).target == shown
    read = asked_json("read", patterns=(pattern,), call_id="c1")
    assert display_ask(read, [call("read", filePath=path)], root=root or "/srv/shop").target == shown


def test_a_file_that_moves_says_where_to():
    files = [{"filePath": "/srv/a.py", "movePath": "/etc/cron.d/a", "relativePath": "etc/cron.d/a"}]
    assert (
        asked("edit", patterns=("srv/a.py",), metadata={"files": files}).target == "/srv/a.py → /etc/cron.d/a"
    )


def test_of_a_long_ask_it_is_said_how_much_is_missing_and_the_whole_can_be_had():
    command = "".join(f"echo {number}\n" for number in range(3_600)) + "rm -rf /"
    ask = asked_json("bash", metadata={"command": command}, patterns=("echo", "rm -rf /"), always=("echo *",))
    card, whole = display_ask(ask), display_ask(ask, whole=True)
    assert card.detail.command == "\n".join(command.split("\n")[:400])
    assert (card.left_out, card.more) == (3_202, "3,202 more lines, 31 kB")
    assert (whole.detail.command, whole.always) == (command, ("echo *",))
    assert (whole.left_out, whole.more, whole.shown) == (0, "", card.shown)
    wide = asked("bash", metadata={"command": "x" * 70_000})
    assert (wide.left_out, len(wide.detail.command), wide.size) == (1, 60_000, 10_000)
    facts = asked("grep", metadata={f"name {number}": "x\n" * 9 for number in range(100)})
    assert facts.left_out == 900 - 400
    assert sum(fact.text.count("x") for fact in facts.facts) == 400


def test_of_a_long_question_it_is_said_how_much_is_missing():
    options = [{"label": f"{number}" * 9, "description": "y" * 900} for number in range(100)]
    ask = {
        "kind": "question",
        "questions": [{"question": "Which?\r" + "\n" * 99 + "x", "options": options}] * 2,
    }
    card, whole = display_ask(ask), display_ask(ask, whole=True)
    assert card.questions[0].text == "Which?‹\\r›\n‹98 blank lines›\nx"
    assert card.left_out
    assert sum(len(question.options) for question in card.questions) < 100
    assert [len(question.options) for question in whole.questions] == [100, 100]
    assert whole.left_out == 0


def test_a_label_is_shown_visibly_and_answered_as_it_is():
    ask = display_ask(
        {"kind": "question", "questions": [{"question": "?", "options": [{"label": "Yes\u202e"}]}]}
    )
    (option,) = ask.questions[0].options
    assert (option.text, option.label) == ("Yes‹\\u202e›", "Yes\u202e")
    assert read_answer(agreed(ask) | {"answer-0": ["Yes\u202e"]}, ask).labels == (("Yes\u202e",),)


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
        "shown": [ask.shown],
        "answer": ["once"],
        "answer-0": ["Not at all", "Injected"],
        "answer-1": ["Krone", "Euro"],
        "own-1": [" Pound "],
    }
    labels = (("Not at all",), ("Euro", "Krone", "Pound"))
    assert read_answer(filled, ask) == Given(ask.id, "once", labels, shown=ask.shown)


def test_an_own_answer_stands_in_the_place_of_a_single_choice():
    ask = two_questions()
    filled = {"answer-0": ["Not at all"], "own-0": ["Up"]} | agreed(ask)
    assert read_answer(filled, ask).labels == (("Up",), ())


def test_a_question_that_takes_no_own_answer_is_given_none():
    ask = display_ask({"id": "q", "kind": "question", "questions": [{"question": "Go?", "custom": False}]})
    assert read_answer({"own-0": ["No"]} | agreed(ask), ask).labels == ((),)


def test_a_refusal_may_have_a_word_to_the_agent():
    ask = asked("bash")
    refused = {"ask": ["per_1"], "answer": ["reject"], "message": ["  Use make.  "]}
    assert read_answer(refused, ask) == Given("per_1", "reject", (), "Use make.")
    assert read_answer({**refused, "message": [" "]}, ask).message is None
    always = agreed(ask) | {"answer": ["always"]}
    assert read_answer(always, ask) == Given("per_1", "always", shown=ask.shown)


def test_an_answer_names_what_was_shown_and_holds_for_nothing_else():
    one, other = (asked("bash", metadata={"command": command}) for command in ("ls", "ls; rm -rf /"))
    with pytest.raises(errors.AskChangedError, match="ask per_1 says has changed") as caught:
        read_answer(agreed(one), other)
    assert caught.value.ask_id == "per_1"
    unseen = {"ask": [one.id], "answer": ["once"]}
    with pytest.raises(errors.ConfigurationError, match="needs a field `shown`"):
        read_answer(unseen, one)
    assert read_answer(unseen | {"answer": ["reject"]}, one).reply == "reject"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "per_2"},
        {"permission": "edit"},
        {"patterns": ["rm"]},
        {"metadata": {"command": "ls -a"}},
        {"always": ["*"]},
        {"session_id": "ses_2"},
        {"call_id": "c2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_digest_differs_where_what_is_shown_does(change):
    part = {"type": "tool", "tool": "bash", "call_id": "c1", "status": "running", "input": {"timeout": 9}}
    ask = asked_json("bash", metadata={"command": "ls"}, call_id="c1")
    shown = display_ask(ask, [part]).shown
    assert display_ask({**ask, "asked_at": "2027-01-01T00:00:00+00:00"}, [part], root="/srv").shown == shown
    assert display_ask(ask, [part], whole=True).shown == shown
    assert display_ask({**ask, **change}, [part]).shown != shown
    assert display_ask(ask, [{**part, "input": {"timeout": 10}}]).shown != shown


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
