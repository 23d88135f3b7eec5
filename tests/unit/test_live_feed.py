"""What of a turn is news to a browser that has seen an earlier state of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from opencode_sessions.display import PermissionAsk, ShownError, Text
from opencode_sessions.frontends.html import HtmlEncoder
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.view import Bill, RenderContext, Rendered, TurnView

HTML = HtmlEncoder(render_part=str, render_ask=str, render_error=str)
ASK = PermissionAsk(id="per_1", permission="bash", icon="command", verb="Run", target="ls")
BILL = Bill(cost=0.0, input_tokens=0, output_tokens=0)


def rendered(shown, html):
    return Rendered(shown, {HTML: html}, len(html))


def view(*parts, **more):
    found = {name: rendered(Text(id=name, markdown=text), text) for name, text in parts}
    facts = {"status": "streaming", "revision": 1, "live": True, "asks": {}, "error": None}
    return TurnView(parts=found, bill=BILL, length=0, renderers=frozenset([HTML]), **{**facts, **more})


@pytest.fixture
def feed():
    shown = Feed()
    shown.take(view(("a", "1"), ("b", "1")))
    return shown


def told(feed, seen):
    """The events that are news, each as its name and data."""
    events = []
    for frame in filter(None, feed.since(seen, HTML, RenderContext()).decode().split("\n\n")):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if line)
        events.append((fields.get("event"), json.loads(fields.get("data", "null"))))
    return events


def test_who_has_seen_nothing_gets_all_of_it(feed):
    [(name, state)] = told(feed, 0)
    assert name == "state"
    assert state["parts"] == [{"id": "part-a", "html": "1"}, {"id": "part-b", "html": "1"}]


def test_who_has_seen_it_gets_nothing(feed):
    assert feed.since(feed.version, HTML, RenderContext()) == b""


def test_what_changes_again_and_again_is_sent_once_in_its_newest_form(feed):
    seen = feed.version
    for number in range(100):
        feed.take(view(("a", "1"), ("b", f"{number}")))
    assert told(feed, seen) == [("part", {"id": "part-b", "html": "99", "after": "part-a"})]


def test_a_new_part_is_told_with_the_one_before_it(feed):
    seen = feed.version
    feed.take(view(("z", "0"), ("a", "1"), ("m", "2"), ("b", "1")))
    assert told(feed, seen) == [
        ("part", {"id": "part-z", "html": "0", "after": None}),
        ("part", {"id": "part-m", "html": "2", "after": "part-a"}),
    ]


@pytest.mark.parametrize(
    "now",
    [
        view(("b", "1")),
        view(("b", "1"), ("a", "1")),
        view(("a", "1"), ("b", "1"), status="completed"),
        view(("a", "1"), ("b", "1"), live=False),
        view(("a", "1"), ("b", "1"), error=rendered(ShownError(name="Unknown", title="!"), "!")),
    ],
    ids=["a part is gone", "another order", "another status", "elsewhere", "an error"],
)
def test_what_parts_cannot_tell_is_told_whole(feed, now):
    seen = feed.version
    assert feed.take(now) > 0
    assert [name for name, _ in told(feed, seen)] == ["state"]


def test_nothing_new_is_no_news(feed):
    seen = feed.version
    assert feed.take(replace(view(("a", "1"), ("b", "1")), revision=2)) == 0
    assert feed.since(seen, HTML, RenderContext()) == b""


def test_asks_come_by_themselves(feed):
    seen = feed.version
    feed.take(view(("a", "1"), ("b", "1"), asks={"per_1": rendered(ASK, "<form>")}))
    assert told(feed, seen) == [("asks", {"asks": [{"id": "per_1", "html": "<form>"}]})]


def test_from_the_row_the_parts_are_followed_by_their_revision(feed):
    feed.take(view(("a", "1"), live=False))
    seen = feed.version
    feed.take(view(("a", "2"), live=False, revision=7))
    assert feed.since(seen, HTML, RenderContext()).endswith(b"\n\nid: 7\n\n")


def test_a_line_break_in_a_text_does_not_break_the_frame():
    shown = Feed()
    shown.take(view(("a", "one\r\ntwo\nthree\u2028four")))
    [(_, state)] = told(shown, 0)
    assert state["parts"][0]["html"] == "one\r\ntwo\nthree\u2028four"
