"""Whatever a row holds, it is shown, and what is shown is small, visible and harmless."""

from __future__ import annotations

import json
import re
import time
from dataclasses import fields, is_dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hostile_texts import counted_lines
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.display import Page, display, display_ask, display_error, display_message
from opencode_sessions.display.coerce import web_url
from opencode_sessions.display.tools.registry import TOOLS

_KEYS = """id message_id type tool call_id status input title output error metadata data progress time text
    command filePath oldString newString edits patchText diff files filepath display path entries lineStart
    todos content priority questions answers question header options label multiple custom url format pattern
    include steps earlier waits_for start end attempt message name by retryable kind permission patterns always
    subagent_type prompt toolCalls code exit matches"""
KEYS = st.sampled_from(_KEYS.split())
WORDS = st.sampled_from(
    [*TOOLS, "text", "reasoning", "tool", "todos", "patch", "file", "structured", "retry", "compaction", "completed",
     "running", "error", "permission", "question", "bash", "edit", "directory", "--- a\n+++ b\n@@ -1 +1,9 @@\n-x\n+y"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)
CALLS = st.fixed_dictionaries(
    {"type": st.just("tool"), "tool": st.sampled_from(sorted(TOOLS)) | st.text(max_size=9)},
    optional={
        "status": WORDS,
        "input": JSON,
        "metadata": JSON,
        "output": WORDS | st.text(),
        "progress": JSON,
    },
)


def texts(value):
    """All texts in what is shown."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for each in fields(value):
            yield from texts(getattr(value, each.name))
        yield getattr(value, "note", "")
        yield getattr(value, "title", "")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)


@given(JSON, JSON, JSON)
def test_any_json_is_shown_and_nothing_is_raised(parts, asks, error):
    for each in texts(
        [display(parts, status="streaming", asks=asks), display_ask(asks, parts), display_error(error)]
    ):
        assert isinstance(each, str)


@given(st.lists(CALLS, max_size=3))
def test_any_tool_call_is_a_card_that_says_something(calls):
    for each in display(calls):
        assert each.verb
        assert each.icon
        assert all(isinstance(text, str) for text in texts(each))


@given(st.lists(st.fixed_dictionaries({"id": st.text(max_size=6), "type": st.just("tool")}), max_size=5))
def test_ids_are_safe_in_html_and_used_once(parts):
    ids = [part.id for part in display(parts)]
    assert len(set(ids)) == len(ids) == len(parts)
    assert all(re.fullmatch(r"[\w-]+", part_id, re.ASCII) for part_id in ids)


def test_an_id_of_the_server_stays_as_it_is():
    (part,) = display([{"id": "prt_2097b4f930010K36U2jIJbLfU3", "type": "text", "text": "x"}])
    assert part.id == "prt_2097b4f930010K36U2jIJbLfU3"


@pytest.mark.parametrize("tool", [*sorted(TOOLS), "github_create_issue", "weather"])
def test_much_is_cut_and_how_much_is_said(tool):
    """Ten thousand lines, of ten thousand characters the first, wherever a tool can have them."""
    many = "x" * 10_000 + "\n" + "line\n" * 10_000
    diff = "--- a\n+++ a\n@@ -0,0 +1,10001 @@\n" + "".join(f"+{line}\n" for line in many.splitlines())
    given_ = dict.fromkeys(
        ("command", "filePath", "content", "pattern", "url", "query", "prompt", "code", "name"), many
    )
    given_ |= {
        "todos": [{"content": "much " * 200}] * 5_000,
        "questions": [{"question": "much " * 900, "options": [{"label": "much " * 200}]}] * 300,
    }
    metadata = {
        "output": many,
        "diff": diff,
        "display": {"type": "file", "path": "/a", "text": many, "lineStart": 1},
        "toolCalls": [{"tool": "a_b"}] * 5_000,
        "answers": [[many] * 3] * 3,
    }
    progress = {"steps": [{"tool": "bash", "title": many}] * 5_000, "text": many, "waits_for": [many] * 5_000}
    found = {"input": given_, "metadata": metadata, "progress": progress, "title": many, "output": many}
    for status in ("pending", "running", "completed", "error"):
        (card,) = display([{"type": "tool", "tool": tool, "status": status, "error": many, **found}])
        told = list(texts(card))
        assert sum(map(len, told)) < 500_000
        assert len(card.target) <= 200
        assert "\n" not in card.target
        assert card.detail is None or card.detail.note is not None
    if tool not in ("glob", "grep", "invalid", "question", "task"):  # which failed, or have their own limits
        assert card.detail.left_out >= 1


def test_a_long_answer_is_shown_whole_and_an_endless_one_is_cut():
    paragraph = "word " * 5_000
    whole, cut = display(
        [{"type": "text", "text": f"{paragraph}\n" * 4}, {"type": "text", "text": "line\n" * 100_000}]
    )
    assert (len(whole.markdown), whole.left_out) == (100_004, 0)
    assert (len(cut.markdown), cut.left_out) == (200_000, 60_001)


def test_what_is_hidden_in_a_command_is_made_visible():
    trick = "ls \u202etxt.exe\u2066 \x1b[8mrm -rf /\x1b[0m\x07"
    (card,) = display([{"type": "tool", "tool": "bash", "status": "running", "input": {"command": trick}}])
    asked = display_ask(
        {"kind": "permission", "permission": "bash", "metadata": {"command": trick}, "patterns": [trick]}
    )
    for told in (card.target, card.detail.command, asked.target):
        assert "rm -rf /" in told
        assert not set(told) & set("\u202e\u2066\x1b\x07")
        assert "‹\\u202e›txt.exe‹\\u2066›" in told


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "javascript://a.example/%0aalert(1)",
        "ftp://a.example/x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "/logout",
        "https://",
        "http://[::1",
        "https://a.example/\x00",
        "https://a.example/ onload=x",
        7,
        None,
    ],
)
def test_only_web_addresses_are_urls(url):
    assert web_url(url) == ""
    shown = display(
        [
            {"type": "file", "data": {"filename": "a", "url": url}},
            {"type": "tool", "tool": "webfetch", "status": "completed", "input": {"url": url}, "output": "x"},
        ]
    )
    assert shown[0].url == ""
    assert isinstance(shown[1].detail, Page)
    assert shown[1].detail.url == ""


def test_a_web_address_stays_as_it_is():
    assert web_url("https://a.example/b?c=d#e") == "https://a.example/b?c=d#e"


def test_a_diff_that_has_no_end_costs_no_more_than_its_length():
    line = "+" + "a" * 60 + "\n"
    diff = "--- a\n+++ a\n@@ -0,0 +1,999999999 @@\n" + line * 30_000
    began = time.thread_time()
    (card,) = display([{"type": "tool", "tool": "edit", "status": "completed", "metadata": {"diff": diff}}])
    assert time.thread_time() - began < 2
    assert (card.detail.files[0].added, card.detail.left_out) == (30_000, 29_600 + 1)


def test_what_is_shown_is_json_safe_where_the_row_is():
    parts = [{"type": "structured", "data": {"a": float("nan"), "b": [1, {"c": "d"}]}}]
    (found,) = display(parts)
    assert json.loads(found.text) == {"a": None, "b": [1, {"c": "d"}]}


def _call(tool, **facts):
    return [{"type": "tool", "tool": tool, "call_id": "c", "status": "completed", **facts}]


def _printed(text):
    return _call("bash", metadata={"output": text})


_LINE = "@@ -1,1 +1,1 @@\n-a\n+b\n"
HOSTILE = {
    "results that never end": lambda n: _call("task", output="<task_result>" * n),
    "results on lines": lambda n: _call("task", output="<task_result>\n" * n),
    "skills that never begin": lambda n: _call("skill", output="<skill_content" * n),
    "a skill of empty lines": lambda n: _call("skill", output="<skill_content>\n" + "\n" * 20 * n + "x"),
    "blanks before a remark": lambda n: _printed(" " * 20 * n + "x" * 3_000 + "<shell_metadata>x</shell_metadata>"),
    "remarks that never end": lambda n: _printed("<shell_metadata>" * n),
    "codes of a terminal": lambda n: _printed("\x1b[" * 9 * n),
    "titles of a terminal": lambda n: _printed("\x1b]" * 9 * n),
    "a line written over": lambda n: _printed("a\r" * 9 * n),
    "a long diff": lambda n: _call("edit", metadata={"diff": f"--- a\n+++ b\n@@ -1,{n} +1,{n} @@\n" + "-a\n+b\n" * n}),
    "a diff of many hunks": lambda n: _call("edit", metadata={"diff": "--- a\n+++ b\n" + _LINE * n}),
    "a diff of many files": lambda n: _call("edit", metadata={"diff": f"--- a\n+++ b\n{_LINE}" * n}),
    "many files in a patch": lambda n: _call("apply_patch", metadata={"files": [{"patch": _LINE}] * n}),
    "many edits": lambda n: _call("multiedit", input={"edits": [{"oldString": "a", "newString": "b"}] * n}),
    "many matches": lambda n: _call("grep", output="/a:\n" + "  Line 1: x\n" * n),
    "many files that match": lambda n: _call("grep", output="/a:\n" * n),
    "many todos": lambda n: _call("todowrite", input={"todos": [{"content": "a"}] * n}),
    "deep JSON": lambda n: _call("x", output="[" * 20 * n),
    "wide JSON": lambda n: _call("x", output="[" + "1," * 9 * n + "1]"),
    "one id": lambda n: [{"type": "text", "id": "p", "text": "x"}] * n,
    "two ids": lambda n: [{"type": "text", "id": f"p{'-2' * (i % 2)}", "text": "x"} for i in range(n)],
    "ids that are taken": lambda n: [
        {"type": "text", "id": f"p-{i}" if i < n / 2 else "p", "text": "x"} for i in range(n)
    ],
    "many files changed": lambda n: [{"type": "patch", "data": {"files": ["/a/b"] * n}}],
    "much thought": lambda n: [{"type": "reasoning", "id": f"p{i}", "text": "x"} for i in range(n)],
}  # fmt: skip


@pytest.mark.parametrize("family", HOSTILE)
def test_twice_the_parts_take_at_most_twice_the_work(family):
    counts = []
    for size in (500, 1_000, 2_000):
        parts = HOSTILE[family](size)
        with counted_lines() as lines:
            display(parts, status="completed")
        counts.append(lines[0])
    for less, more in pairwise(counts):
        assert more <= 2.2 * less + 1_000, counts


def test_asks_cost_the_same_however_many_parts_there_are():
    def lines_for(size):
        parts = [
            part for number in range(size) for part in _call("bash", id=f"p{number}", input={"command": "x"})
        ]
        asks = [
            {"kind": "permission", "id": str(i), "call_id": f"c{i}", "permission": "bash"}
            for i in range(size)
        ]
        with counted_lines() as lines:
            display_message(SimpleNamespace(parts=parts, asks=asks, status="streaming"))
        return lines[0]

    assert lines_for(400) <= 2.2 * lines_for(200)


@pytest.mark.parametrize("family", HOSTILE)
def test_patterns_end_soon_on_what_is_made_for_them(family):
    """Lines do not tell how long a pattern searches: what takes milliseconds took half a minute and more."""
    parts = HOSTILE[family](10_000)
    began = time.thread_time()
    display(parts, status="completed")
    assert time.thread_time() - began < 2
