"""What of a turn is news to a browser that has seen an earlier state of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from opencode_sessions.display import Text
from opencode_sessions.django.live.drawing import Drawing, Drawn
from opencode_sessions.django.live.picture import Picture

BILL = {"cost": 0.0, "input_tokens": 0, "output_tokens": 0, "content_length": 0}


def drawing(*parts, **more):
    drawn = (Drawn(Text(id=name, markdown=text), text) for name, text in parts)
    facts = {"status": "streaming", "revision": 1, "live": True, "asks": {}, "error": "", "bill": BILL}
    return Drawing(parts={part.id: part for part in drawn}, **{**facts, **more})


@pytest.fixture
def picture():
    shown = Picture()
    shown.take(drawing(("a", "1"), ("b", "1")))
    return shown


def told(frames):
    """The events, each as its name and data."""
    events = []
    for frame in frames:
        fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if line)
        events.append((fields.get("event"), json.loads(fields.get("data", "null"))))
    return events


def test_who_has_seen_nothing_gets_all_of_it(picture):
    [(name, state)] = told(picture.since(0))
    assert name == "state"
    assert state["parts"] == [{"id": "part-a", "html": "1"}, {"id": "part-b", "html": "1"}]


def test_who_has_seen_it_gets_nothing(picture):
    assert picture.since(picture.version) == []


def test_what_changes_again_and_again_is_sent_once_in_its_newest_form(picture):
    seen = picture.version
    for number in range(100):
        picture.take(drawing(("a", "1"), ("b", f"{number}")))
    assert told(picture.since(seen)) == [("part", {"id": "part-b", "html": "99", "after": "part-a"})]


def test_a_new_part_is_told_with_the_one_before_it(picture):
    seen = picture.version
    picture.take(drawing(("z", "0"), ("a", "1"), ("m", "2"), ("b", "1")))
    assert told(picture.since(seen)) == [
        ("part", {"id": "part-z", "html": "0", "after": None}),
        ("part", {"id": "part-m", "html": "2", "after": "part-a"}),
    ]


@pytest.mark.parametrize(
    "now",
    [
        drawing(("b", "1")),
        drawing(("b", "1"), ("a", "1")),
        drawing(("a", "1"), ("b", "1"), status="completed"),
        drawing(("a", "1"), ("b", "1"), live=False),
        drawing(("a", "1"), ("b", "1"), error="!"),
    ],
    ids=["a part is gone", "another order", "another status", "elsewhere", "an error"],
)
def test_what_parts_cannot_tell_is_told_whole(picture, now):
    seen = picture.version
    assert picture.take(now) > 0
    assert [name for name, _ in told(picture.since(seen))] == ["state"]


def test_nothing_new_is_no_news(picture):
    seen = picture.version
    assert picture.take(replace(drawing(("a", "1"), ("b", "1")), revision=2)) == 0
    assert picture.since(seen) == []


def test_asks_come_by_themselves(picture):
    seen = picture.version
    picture.take(drawing(("a", "1"), ("b", "1"), asks={"per_1": "<form>"}))
    assert told(picture.since(seen)) == [("asks", {"asks": [{"id": "per_1", "html": "<form>"}]})]


def test_from_the_row_the_parts_are_followed_by_their_revision(picture):
    picture.take(drawing(("a", "1"), live=False))
    seen = picture.version
    picture.take(drawing(("a", "2"), live=False, revision=7))
    assert picture.since(seen)[-1] == b"id: 7\n\n"


def test_a_line_break_in_a_text_does_not_break_the_frame():
    shown = Picture()
    shown.take(drawing(("a", "one\r\ntwo\nthree\u2028four")))
    [(_, state)] = told(shown.since(0))
    assert state["parts"][0]["html"] == "one\r\ntwo\nthree\u2028four"
