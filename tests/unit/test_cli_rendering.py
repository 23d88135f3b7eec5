from __future__ import annotations

import pytest

from opencode_sessions.cli.rendering import (
    caption,
    clean,
    money,
    one_line,
    retry_line,
    seconds,
    summary,
    tool_facts,
    why,
)
from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Part
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.results import TurnResult


def result(**facts):
    given = {
        "status": TurnStatus.COMPLETED,
        "content": "",
        "parts": (),
        "error": None,
        "cost": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "prompt_id": "msg_1",
    }
    return TurnResult(**{**given, **facts})


def tool(**facts):
    return Part("prt_1", "msg_1", "tool", **facts)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x9b31m", "�31m"),
        ("a\r\nb", "a\nb"),
        ("žluťoučký 🐎 \u2028", "žluťoučký 🐎 \u2028"),
    ],
)
def test_a_text_is_shown_and_not_obeyed(text, shown):
    assert clean(text) == shown


def test_a_long_text_is_cut_to_one_line():
    assert one_line("a\n b\t c ") == "a b c"
    assert one_line("a\u2028b\x1c") == "a‹\\u2028›b‹\\x1c›"
    assert one_line("x" * 10, limit=10) == "x" * 10
    assert one_line("x" * 11, limit=10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (tool(tool="write", title="tmp/work/a.txt", input={"filePath": "a.txt"}), "write a.txt"),
        (tool(tool="todowrite", title="3 todos"), "todowrite 3 todos"),
        (tool(tool="glob", input={"pattern": "*.py"}), "glob *.py"),
        (tool(tool="odd", input={"depth": 3}), "odd"),
        (tool(), "tool"),
        (
            tool(tool="bash", title="x", input={"command": "ls \x1b]0;\n\u202erm"}),
            "bash ls ‹\\x1b›]0;‹\\n›‹\\u202e›rm",
        ),
        (tool(tool="bash", input={"command": "ls" + " " * 9_000 + "; rm x"}), "bash ls‹9,000 spaces›; rm x"),
        (tool(tool="write", input={"filePath": "/etc/passwd\r"}), "write /etc/passwd‹\\r›"),
    ],
)
def test_a_tool_call_is_captioned_by_what_tells_most(part, said):
    assert caption(part) == said


@pytest.mark.parametrize(
    ("dollars", "said"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.05, "$0.05"),
        (0.0032051, "$0.0032"),
        (0.00000123, "$0.0000012"),
    ],
)
def test_a_small_sum_is_never_shown_as_nothing(dollars, said):
    assert money(dollars) == said


@pytest.mark.parametrize(
    ("duration", "said"), [(0.04, "0.0 s"), (12.34, "12.3 s"), (60, "1 min 0 s"), (119.7, "2 min 0 s")]
)
def test_a_duration_is_said_as_people_say_it(duration, said):
    assert seconds(duration) == said


def test_the_summary_names_the_end_the_tokens_the_cost_and_the_time():
    ended = result(cost=0.5, input_tokens=1200, output_tokens=3, duration=2.0)
    assert summary(ended) == "completed · 1,200 tokens in, 3 out · $0.50 · 2.0 s"
    assert summary(result(status=TurnStatus.CANCELLED)) == "cancelled · 0 tokens in, 0 out · $0.00"


def test_a_failure_says_why():
    assert why(result()) is None
    assert why(result(status=TurnStatus.FAILED)) == "failed"
    failed = result(status=TurnStatus.FAILED, error={"name": "APIError", "message": "no\nmodel"})
    assert why(failed) == "APIError: no model"


def test_a_retry_says_why_which_and_when():
    retry = SessionStatus(status="retry", attempt=1, message="overloaded", next=12_500)
    assert retry_line(retry, now=10) == "overloaded: attempt 2 in 2.5 s"
    assert retry_line(retry, now=13) == "overloaded: attempt 2 now"
    assert retry_line(SessionStatus(status="retry"), now=0) == "the provider failed: another attempt now"


def test_the_tools_of_a_reply_are_told_without_its_other_parts():
    write = tool(tool="write", status="completed", input={"filePath": "a"}, title="a", metadata={"large": 1})
    parts = [Part("prt_0", "msg_1", "text", text="hi").to_json(), write.to_json()]
    assert tool_facts(parts) == [
        {"tool": "write", "status": "completed", "title": "a", "input": {"filePath": "a"}}
    ]
