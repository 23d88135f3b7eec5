from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from opencode_sessions.cli.screen import Screen
from opencode_sessions.protocol.reply import Change, Part, Reply


@pytest.fixture
def screen():
    return Screen(Console(file=StringIO(), width=80))


@pytest.fixture
def written(screen):
    return screen.console.file.getvalue


def tell(screen, kind, text="", part_id="1", **facts):
    screen.changed(Change(Part(part_id, "msg_1", kind, text=text, **facts)), Reply("ses_1", "msg_0"))


def test_a_text_is_written_as_it_grows(screen, written):
    tell(screen, "text", "One")
    assert written() == "One"
    tell(screen, "text", "One two")
    assert written() == "One two"
    screen.settle()
    assert written() == "One two\n"


def test_a_delta_is_written_without_reading_the_whole_text(screen, written):
    tell(screen, "text", "One")
    screen.changed(Change(Part("1", "msg_1", "text", text="not read"), delta=" two"), Reply("ses_1", "msg_0"))
    assert written() == "One two"
    tell(screen, "text", "One two three")
    assert written() == "One two three"


def test_a_text_that_the_server_trims_at_its_end_is_not_written_twice(screen, written):
    tell(screen, "text", "One two \n")
    tell(screen, "text", "One two")
    assert written() == "One two \n"


def test_a_text_that_was_rewritten_is_said_anew(screen, written):
    tell(screen, "text", "One")
    tell(screen, "text", "Two")
    assert written() == "One\nTwo"


def test_thoughts_are_told_from_the_answer_without_any_colour(screen, written):
    tell(screen, "reasoning", "Hm.", "1")
    tell(screen, "text", "\n\nYes.", "2")
    assert written() == "thinking: Hm.\nYes."


def test_a_text_of_nothing_but_blanks_is_not_written(screen, written):
    tell(screen, "text", "\n \n")
    assert written() == ""


def test_a_long_line_is_not_broken(screen, written):
    tell(screen, "text", "word " * 50)
    assert written() == "word " * 50


def test_markup_in_a_text_is_text(screen, written):
    tell(screen, "text", "[bold]x[/] [/nonsense] :smile:")
    tell(screen, "tool", part_id="2", tool="write", status="completed", input={"filePath": "[red]a[/b]"})
    assert written() == "[bold]x[/] [/nonsense] :smile:\n✓ write [red]a[/b]\n"


def test_a_tool_is_told_once_for_each_of_its_states(screen, written):
    for status in ("pending", "running", "running", "completed", "completed"):
        tell(screen, "tool", tool="write", status=status, input={"filePath": "a.txt"})
    assert written() == "→ write a.txt (running)\n✓ write a.txt\n"


def test_a_tool_that_failed_says_why_on_its_line(screen, written):
    tell(screen, "tool", tool="read", status="error", input={"filePath": "a.txt"}, error="not\nthere")
    assert written() == "✗ read a.txt not there\n"


def test_a_note_begins_a_line_of_its_own(screen, written):
    tell(screen, "text", "One")
    screen.note("remark")
    tell(screen, "text", "One two")
    assert written() == "One\n· remark\n two"


def test_a_turn_in_a_fresh_session_says_so_if_another_was_there(screen, written):
    screen.created("ses_1", None)
    screen.started("ses_1", "msg_1")
    assert written() == ""
    screen.created("ses_2", "ses_1")
    assert "no longer has this session" in written()


def test_what_cannot_be_seen_in_a_command_is_marked_and_stands_out():
    screen = Screen(Console(file=StringIO(), width=200, force_terminal=True, color_system="standard"))
    tell(screen, "tool", tool="bash", status="completed", input={"command": "ls \x1b]0; [bold]:bomb:\rrm"})
    told = screen.console.file.getvalue()
    assert "bash ls \x1b[7m‹\\x1b›\x1b[0m]0; [bold]:bomb:\x1b[7m‹\\r›\x1b[0mrm" in told
    assert "\x1b]0;" not in told
    assert "\r" not in told.replace("\r\n", "\n")
