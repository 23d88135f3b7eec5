"""The parts of real turns, and of made-up ones, as they are shown."""

from __future__ import annotations

import pytest
from display_recordings import NAMES, recording
from fuzz_target import decoded, folded, recordings

from opencode_sessions.display import (
    Code,
    Command,
    Data,
    Diff,
    FileContent,
    Listing,
    Match,
    Matches,
    Notice,
    Output,
    Page,
    Patch,
    Questions,
    Structured,
    SubAgent,
    Text,
    Thought,
    Todo,
    TodoList,
    Todos,
    Tool,
    display,
    display_message,
)
from opencode_sessions.display.tools.diffs import parse_diff
from opencode_sessions.display.tools.registry import TOOLS
from opencode_sessions.store.messages import MessageState, TurnStatus


def shown(name):
    found = recording(name)
    return display(found["parts"], status=found["status"])


def cards(name, tool=None):
    return [part for part in shown(name) if isinstance(part, Tool) and tool in (None, part.tool)]


def card(**part):
    (found,) = display([{"id": "prt_1", "message_id": "msg_1", "type": "tool", **part}])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_card_of_a_real_turn_says_what_it_does(name):
    for each in cards(name):
        assert each.tool in TOOLS or each.kind == "mcp"
        assert each.verb
        assert each.icon
        assert each.state in ("done", "failed", "refused")
        assert bool(each.error) == (each.state != "done")
        assert "/srv/shop" not in each.target, "a path is shown from the root of the worktree on"


@pytest.mark.parametrize("name", recordings())
def test_a_recorded_stream_is_shown_well_at_every_moment(name):
    events = decoded(recordings()[name])
    for place in range(len(events)):
        for each in display(folded(events[:place]).to_json(), status="streaming"):
            assert not isinstance(each, Tool) or (each.verb and each.tool in (*TOOLS, "nosuch"))


def test_the_recordings_use_every_tool_that_can_be_used_here():
    """Those of other releases are missing, and the one that only the terminal's client is given."""
    used = {each.tool for name in NAMES for each in cards(name)}
    elsewhere = {"codesearch", "list", "multiedit", "patch", "todoread", "plan_enter", "plan_exit"}
    assert set(TOOLS) - used == elsewhere


def test_a_file_that_was_read_has_its_lines_and_their_numbers():
    whole, _, some, missing = cards("files", "read")
    assert (whole.title, whole.note) == ("Read shop/cart.py", "15 lines")
    assert isinstance(whole.detail, FileContent)
    assert (whole.detail.language, whole.detail.lines[12]) == ("python", (13, "def total(lines):"))
    assert (some.note, some.detail.lines[0]) == ("lines 13-14 of 15", (13, "def total(lines):"))
    assert (missing.title, missing.state) == ("Could not read nowhere.txt", "failed")
    assert missing.error == "File not found: /srv/shop/nowhere.txt"


def test_a_folder_is_a_listing():
    folder = cards("files", "read")[1]
    assert folder.detail == Listing(entries=("cart.py",), total=1)
    assert folder.title == "Read shop"


def test_what_was_searched_and_found():
    found, none = cards("files", "grep")
    assert found.title == "Searched for total|price (*.py)"
    assert isinstance(found.detail, Matches)
    assert found.detail.matches[1] == Match("shop/cart.py", 13, "def total(lines):")
    assert [(path, len(matches)) for path, matches in found.detail.by_file] == [("shop/cart.py", 3)]
    assert (found.note, none.note) == ("3 matches", "0 matches")
    files, no_files = cards("files", "glob")
    assert (files.title, files.detail.entries) == ("Looked for **/*.py", ("shop/cart.py",))
    assert no_files.detail == Listing(entries=(), total=0)


def test_an_edit_is_a_diff_and_before_that_what_is_to_be_changed():
    edited, failed = cards("files", "edit")
    assert (edited.title, edited.note) == ("Edited shop/cart.py", "+1 \N{MINUS SIGN}1")
    (file,) = edited.detail.files
    assert [(line.kind, line.old, line.new) for line in file.hunks[0].lines[-2:]] == [
        ("remove", 15, None),
        ("add", None, 15),
    ]
    (planned,) = failed.detail.files
    assert [(line.kind, line.text) for line in planned.hunks[0].lines] == [
        ("remove", "nothing like it"),
        ("add", "x"),
    ]
    assert failed.note == ""


def test_a_patch_of_several_files_says_what_becomes_of_each():
    done, failed = cards("patches", "apply_patch")
    assert done.target == "shop/tax.py, shop/cart.py, old.txt"
    assert isinstance(done.detail, Diff)
    assert [(file.path, file.change, file.added, file.removed) for file in done.detail.files] == [
        ("shop/tax.py", "add", 1, 0),
        ("shop/cart.py", "edit", 1, 1),
        ("old.txt", "delete", 0, 1),
    ]
    assert (failed.state, failed.detail) == ("failed", None)


def test_a_patch_that_is_being_written_is_shown_as_it_is():
    writing = card(tool="apply_patch", status="running", input={"patchText": "*** Begin Patch\n+x"})
    assert writing.detail.text == "*** Begin Patch\n+x"


def test_a_moved_file_says_where_it_was():
    moved = {
        "filePath": "/w/old.py",
        "movePath": "/w/new.py",
        "relativePath": "new.py",
        "type": "move",
        "patch": "",
    }
    (file,) = card(tool="apply_patch", status="completed", metadata={"files": [moved]}).detail.files
    assert (file.moved_from, file.path, file.change) == ("old.py", "new.py", "move")


def test_what_was_written_has_its_language():
    python, markdown = (each.detail for each in cards("files", "write"))
    assert (python.path, python.language, markdown.language) == ("shop/tax.py", "python", "markdown")
    assert python.text == '"""Taxes."""\n\nRATE = 0.2'


def test_a_command_has_its_output_its_exit_and_what_the_server_says_of_it():
    listed, failed, long, silent, slow = cards("commands", "bash")
    assert listed.detail.output.splitlines()[:2] == ["one", "two"]
    assert (listed.note, failed.note, failed.detail.output, failed.detail.exit_code) == (
        "",
        "exit 3",
        "no",
        3,
    )
    assert (silent.detail.output, silent.detail.exit_code) == ("", 0)
    assert slow.detail.output == ""
    assert slow.detail.remark.startswith("shell tool terminated command after exceeding timeout 200 ms")
    assert long.detail.output.endswith("\n2999\n3000")
    assert len(long.detail.output.splitlines()) == 400
    assert long.detail.left_out > 500


def test_a_running_command_shows_what_it_has_printed_without_the_terminals_codes():
    told = "\x1b[32mok\x1b[0m\n10%\r50%\r100%\nend\r\n"
    running = card(tool="bash", status="running", input={"command": "make"}, metadata={"output": told})
    assert (running.title, running.state, running.detail.output) == (
        "Running make",
        "running",
        "ok\n100%\nend",
    )


def test_the_web_is_a_page_with_an_http_url_only():
    page, missing, file = cards("web", "webfetch")
    assert page.detail == Page(
        url="http://shop.example/", text="Prices\n\n# Prices\n\nMilk costs **1.20**.", markdown=True
    )
    assert (missing.state, missing.detail) == ("failed", None)
    assert file.title == "Could not fetch file:///etc/passwd"
    searched = card(tool="websearch", status="completed", input={"query": "milk"}, output="Title: Milk")
    assert (searched.title, searched.detail) == (
        "Searched the web for milk",
        Page(url="", text="Title: Milk"),
    )


def test_todos_are_a_list_with_its_progress():
    (written,) = cards("todos")
    (whole,) = (part for part in shown("todos") if isinstance(part, Todos))
    assert written.detail == whole.list
    assert whole.list.todos[1] == Todo("Count every line", "in_progress", "high")
    assert (whole.list.done, whole.list.open, written.note) == (1, 3, "1 of 3 done")


def test_a_sub_agent_has_its_steps_and_its_answer():
    done, failed = cards("sub-agents", "task")
    assert isinstance(done.detail, SubAgent)
    assert [(step.verb, step.target, step.state) for step in done.detail.steps] == [
        ("Read", "shop/cart.py", "done"),
        ("Ran", "echo sub", "done"),
    ]
    assert (done.title, done.detail.agent, done.detail.answer) == (
        "Delegated Check the prices",
        "general",
        "All prices are **right**.",
    )
    assert (failed.state, failed.note) == ("failed", "")


def test_a_sub_agent_at_work_says_what_it_does_and_waits_for():
    progress = {
        "session_id": "ses_2",
        "status": "waiting",
        "steps": [{"tool": "bash", "title": "rm x", "status": "running"}],
        "earlier": 4,
        "text": "I look",
        "waits_for": ["bash"],
    }
    working = card(tool="task", status="running", input={"description": "Tidy"}, progress=progress)
    assert (working.detail.says, working.detail.waits_for, working.note) == ("I look", ("bash",), "5 steps")
    assert working.detail.steps[0].verb == "Running"


def test_questions_are_shown_with_what_was_answered():
    (answered,) = cards("questions")
    assert isinstance(answered.detail, Questions)
    assert [question.answers for question in answered.detail.questions] == [
        ("To the cent",),
        ("Euro", "Pound"),
    ]
    (dismissed,) = cards("dismissed")
    assert (dismissed.state, dismissed.error) == ("refused", "Not answered.")
    assert dismissed.title == "Asked How should prices be rounded?"


def test_what_a_person_or_a_rule_refused_is_told_from_what_failed():
    (refused,) = cards("refused")
    assert (refused.state, refused.title) == ("refused", "Did not run rm -rf build")
    assert refused.error == "Refused: Keep the build."
    forbidden = cards("forbidden")[1]
    assert (forbidden.state, forbidden.error) == ("refused", "A permission rule forbids it.")


def test_a_tool_that_there_is_not_is_told_without_the_list_of_all_others():
    (invalid,) = cards("others", "invalid")
    assert (invalid.title, invalid.state) == ("Could not call nosuch", "failed")
    assert invalid.error == "Model tried to call unavailable tool 'nosuch'."


def test_tools_of_mcp_servers_and_plugins_have_decent_names():
    (issue,) = cards("others", "github_create_issue")
    assert (issue.title, issue.kind) == ("Used GitHub: create issue", "mcp")
    assert issue.detail == Data(
        given='{\n  "title": "The cart forgets to count"\n}', result='{\n  "number": 7,\n  "state": "open"\n}'
    )
    assert card(tool="my-shop_listOpenOrders", status="running").title == "Using My shop: list open orders"
    plugin = card(tool="weather", status="completed")
    assert (plugin.title, plugin.kind) == ("Used weather", "custom")
    (resource,) = cards("others", "read_mcp_resource")
    assert resource.title == "Read memo://guide of GitHub"
    assert isinstance(resource.detail, Output)


def test_other_tools_of_the_server():
    skill = cards("others", "skill")[0]
    assert (skill.title, skill.detail.markdown) == ("Loaded the skill refunds", True)
    assert skill.detail.text == "# Skill: refunds\n\nAsk for the order's number first."
    (looked,) = cards("others", "lsp")
    assert looked.target == "hover: shop/cart.py:1"
    program, thrown = cards("code")
    assert isinstance(program.detail, Code)
    assert (program.note, program.detail.steps[0].target) == ("1 call", "create issue")
    assert (thrown.state, thrown.error) == ("failed", "Uncaught: no")


def test_text_thoughts_patches_and_data_are_shown_beside_the_cards():
    thought, text, *_ = shown("files")
    assert isinstance(thought, Thought)
    assert isinstance(text, Text)
    assert text.markdown == "I look at the cart."
    (patch,) = (part for part in shown("files") if isinstance(part, Patch))
    assert patch.files == ("notes.md", "shop/cart.py", "shop/tax.py")
    (data,) = (part for part in shown("structured") if isinstance(part, Structured))
    assert data.text == '{\n  "total": 3.6\n}'


def test_what_happened_on_the_way_is_a_notice():
    retry = {"attempt": 2, "error": {"name": "APIError", "data": {"message": "Overloaded"}}}
    found = display(
        [
            {"id": "a", "type": "retry", "data": retry},
            {"id": "b", "type": "compaction", "data": {"auto": True}},
            {"id": "c", "type": "newThing", "data": {"x": 1}},
            {"id": "d", "type": "step-start"},
        ]
    )
    assert all(isinstance(each, Notice) for each in found)
    assert [each.kind for each in found] == ["retry", "compaction", "newThing"]
    assert (found[0].title, found[0].text) == (
        "The model's provider was asked again (attempt 2)",
        "Overloaded",
    )
    assert found[2].title == "New thing"


def test_durations_are_in_seconds_where_they_are_known():
    thought, tool = display(
        [
            {"id": "a", "type": "reasoning", "text": "hm", "time": {"start": 1_000, "end": 3_500}},
            {
                "id": "b",
                "type": "tool",
                "tool": "bash",
                "status": "completed",
                "time": {"start": 5, "end": 4},
            },
        ]
    )
    assert (thought.duration, tool.duration) == (2.5, None)


def test_only_the_last_text_of_a_turn_that_streams_grows():
    parts = [{"id": "a", "type": "text", "text": "one"}, {"id": "b", "type": "text", "text": "two"}]
    assert [text.growing for text in display(parts, status="streaming")] == [False, True]
    assert [text.growing for text in display(parts, status="completed")] == [False, False]


def test_a_call_that_the_turns_end_broke_off_does_not_run_for_ever():
    parts = [
        {"id": "a", "type": "tool", "tool": "bash", "status": "running", "input": {"command": "sleep 9"}}
    ]
    (running,) = display(parts, status="streaming")
    (over,) = display(parts, status="failed")
    assert (running.state, over.state, over.error) == ("running", "failed", "The turn ended before this did.")


def test_a_call_that_waits_for_a_person_says_so():
    parts = [
        {
            "id": "a",
            "type": "tool",
            "tool": "bash",
            "call_id": "c1",
            "status": "running",
            "input": {"command": "rm x"},
        },
        {"id": "b", "type": "tool", "tool": "bash", "call_id": "c2", "status": "pending"},
    ]
    asking, waiting = display(parts, asks=[{"call_id": "c1"}])
    assert (asking.title, asking.state, asking.asks) == ("Wants to run rm x", "waiting", True)
    assert (waiting.title, waiting.state, waiting.asks) == ("About to run", "waiting", False)


def test_a_message_is_shown_with_its_asks_its_error_and_the_hosts_own_words():
    silent = MessageState(
        "hi",
        TurnStatus.FAILED,
        prompt_id="msg_9",
        content="Sorry.",
        error={"name": "EmptyAnswer", "message": ""},
    )
    found = display_message(silent)
    assert [part.markdown for part in found.parts] == ["Sorry."]
    assert (found.parts[0].id, found.error.title, found.status) == (
        "msg_9-content",
        "The model answered nothing",
        "failed",
    )
    spoke = MessageState("hi", content="one", parts=({"id": "a", "type": "text", "text": "one"},))
    assert [part.id for part in display_message(spoke).parts] == ["a"]


def test_an_empty_todo_list_says_nothing():
    assert display([{"id": "a", "type": "todos", "data": {"todos": []}}]) == []
    assert TodoList(todos=()).note == ""
    assert Command(command="x").note == ""


def test_blank_lines_of_a_file_are_counted_where_one_line_stands_for_them():
    part = {
        "type": "tool",
        "tool": "write",
        "status": "running",
        "input": {"content": "a" + "\n" * 100 + "b\n"},
    }
    (card,) = display([part])
    assert card.detail.lines == [(1, "a"), (2, "‹99 blank lines›"), (101, "b")]
    assert card.note == "101 lines"


def test_blank_lines_of_a_diff_are_folded_and_the_next_line_keeps_its_number():
    blank = "+\n" * 9_000
    files, left_out = parse_diff(f"--- a\n+++ a\n@@ -0,0 +1,9003 @@\n+x\r\n{blank}+ y\x1b]0;\n+\t\n")
    lines = [(line.new, line.text) for line in files[0].hunks[0].lines]
    assert lines == [(1, "x‹\\r›"), (2, "‹9,000 blank lines›"), (9_002, " y‹\\x1b›]0;"), (9_003, "\t")]
    assert (left_out, files[0].added) == (0, 9_003)
    spaces = "+ \n" * 9
    ((file,), _) = parse_diff(f"--- a\n+++ a\n@@ -0,0 +1,9 @@\n{spaces}")
    assert {line.text for line in file.hunks[0].lines} == {"‹1 space›"}


def test_a_diff_with_lines_of_no_file_is_none_where_that_is_asked():
    diff = "--- a\n+++ a\n@@ -0,0 +1,1 @@\n+x\n+hidden\n"
    assert parse_diff(diff)[0]
    assert parse_diff(diff, strict=True) == ([], 0)
