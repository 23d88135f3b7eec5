"""docs/turn-events.md, "In Django": its view is served as it stands there, and for ASGI as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from django.test import override_settings
from django.urls import path
from json_client import JsonClient

from opencode_sessions.django import enqueue

PAGE = (Path(__file__).parents[2] / "docs" / "turn-events.md").read_text()
(BLOCKING,) = re.findall(r"```python chat/turn_events.py\n(.*?)```", PAGE, re.DOTALL)
SUSPENDING = re.sub(r"\b(stream|opening)\b(?!=)", r"a\1", BLOCKING)
assert "astream(hub, watched, opening=aopening)" in SUSPENDING
assert "astream(hub, watched, opening=aopening)" in PAGE


@pytest.mark.parametrize(("kind", "code"), [("wsgi", BLOCKING), ("asgi", SUSPENDING)])
def test_a_turn_is_sent_as_json_events_to_who_may_see_it(pages, request, kind, code):
    url, names, client = request.getfixturevalue(kind), {"__name__": "turn_events"}, JsonClient()
    exec(compile(code, "turn-events.md", "exec"), names)  # noqa: S102 - our own docs
    message = pages.message("hello")
    enqueue(message)
    with override_settings(ROOT_URLCONF=(path("turns/<int:pk>", names["turn_events"]),)):

        def read(**headers):
            return httpx2.get(f"{url}/turns/{message.pk}", headers=headers, timeout=100)

        client.take(read(**{"X-Who": "owner"}).content)
        assert (client.end, client.state["parts"][-1]["markdown"]) == ("completed", 'You said: "hello".')
        again = read(**{"X-Who": "owner", "Last-Event-ID": str(client.last_id)})
        assert again.headers["Content-Type"].startswith("text/event-stream")
        assert re.findall(b"event: (.*)", again.content) == [b"begin", b"end"]
        assert read().status_code == 404
