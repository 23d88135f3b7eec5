"""The function in docs/turn-events.md, in a browser: it shows what the view has."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from display_recordings import recording
from json_client import JsonClient
from watched_rows import ROW, text

from opencode_sessions.frontends.display_json import JSON
from opencode_sessions.live import RenderContext
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.view import view_of_row

PAGE = (Path(__file__).parents[2] / "docs" / "turn-events.md").read_text()
(APPLY,) = re.findall(r"```js\nexport (function apply.*?)```", PAGE, re.DOTALL)
FOLD = f"(events) => {{ {APPLY} return events.reduce((state, [event, data]) => apply(state, event, data), null); }}"


class Listening(JsonClient):
    """Keeps the events."""

    def __init__(self):
        super().__init__()
        self.told = []

    def take(self, said):
        blocks = filter(None, said.decode().split("\n\n"))
        fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        self.told += [(each["event"], json.loads(each["data"])) for each in fields if "event" in each]
        super().take(said)


def test_the_function_of_the_docs_shows_what_the_view_has(chromium):
    found = recording("files")
    first, *rest = found["parts"]
    moments = [
        {"parts": [first, text("one 😀", "prt_x")]},
        {"parts": [first, text("one 😀 two", "prt_x")], "asks": recording("asks")["asks"][:1]},
        {"parts": [text("new", "prt_0"), first, text("one 😀 two, three", "prt_x"), *rest], "cost": 0.5},
        {"parts": [text("another", "prt_0"), first, text("one 😀 two, three", "prt_x"), *rest]},
    ]
    feed, client, seen = Feed(), Listening(), 0
    client.take(JSON.begin(RenderContext()))
    for number, columns in enumerate(moments, 1):
        row = replace(ROW, status="streaming", revision=number, **columns)
        feed.take(view_of_row(row, feed.view, RenderContext(), frozenset([JSON])))
        client.take(feed.since(seen, JSON, RenderContext()))
        seen = feed.version
    assert set(client.events) == {"begin", "state", "part", "text", "asks", "bill"}
    page = chromium.new_page()
    assert page.evaluate(FOLD, client.told) == client.state
    page.close()
