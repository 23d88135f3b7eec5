"""docs/display.md: its examples run as they stand there, and its tables say what is so."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from display_recordings import recording

from opencode_sessions import Answer
from opencode_sessions.display import display_ask
from opencode_sessions.display.tools.registry import TOOLS
from opencode_sessions.django.templatetags.opencode import register

PAGE = (Path(__file__).parents[2] / "docs" / "display.md").read_text()
SHOW, ANSWER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_parts_of_a_message_are_shown_as_the_docs_do_it(capsys):
    found = recording("files")
    message = SimpleNamespace(parts=found["parts"], status="completed", asks=[])
    exec(compile(SHOW, "display.md", "exec"), {"message": message})  # noqa: S102 - our own docs
    printed = capsys.readouterr().out.splitlines()
    (promised,) = re.findall(r"# (Edited .*)", SHOW)
    assert promised in printed
    assert "Could not read nowhere.txt failed" in printed


def test_a_form_is_answered_as_the_docs_do_it():
    asks = recording("questions")["asks"]
    shown = display_ask(asks[0]).shown
    fields = {
        "ask": [asks[0]["id"]],
        "shown": [shown],
        "answer": ["once"],
        "answer-0": ["To the cent"],
        "own-1": ["Yen"],
    }

    class Post(dict):
        def __getitem__(self, name):
            return super().__getitem__(name)[-1]

        def lists(self):
            return list(self.items())

    told = []
    turn = SimpleNamespace(answer=lambda *given: told.append(given))
    names = {
        "message": SimpleNamespace(asks=asks, parts=[]),
        "request": SimpleNamespace(POST=Post(fields)),
        "turn": turn,
    }
    exec(compile(ANSWER, "display.md", "exec"), names)  # noqa: S102 - our own docs
    assert told == [(asks[0]["id"], Answer("once", (("To the cent",), ("Yen",)), shown=shown))]


def test_the_docs_name_every_kind_symbol_and_tag():
    named = set(re.findall(r"`([^`\n]+)`", PAGE))
    for kind in TOOLS.values():
        assert {kind.kind, kind.icon} <= named
    for tag in register.tags:
        assert tag == "opencode_detail" or f"{{% {tag}" in PAGE
    assert "opencode_markdown" in PAGE
