"""JSON events: whoever applies them shows what the view has, from wherever the stream is resumed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_client import JsonClient
from reply_events import PROMPT, SESSION, assistant, delta, fold, part
from watched_rows import KEY, ROW, text

from opencode_sessions.frontends.display_json import JSON, State, members, plain
from opencode_sessions.live import RenderContext, WatchRequest, channel
from opencode_sessions.live.channel import Channel, Viewer
from opencode_sessions.live.feed import Feed
from opencode_sessions.live.view import view_of_row
from opencode_sessions.protocol.reply import Reply

ASK = {
    "id": "per_1", "kind": "permission", "permission": "bash", "patterns": ["ls"], "session_id": SESSION,
    "call_id": "call_1", "metadata": {"command": "ls"},
}  # fmt: skip
ENDS = ("completed", "failed", "cancelled")
CONTEXT = RenderContext()


@pytest.fixture(autouse=True, scope="module")
def at_once():
    """Nothing waits: the row of a turn that was shown live is as new as what was shown, and no last words come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel, "_CATCH_UP", 0.0)
        patch.setattr(channel, "_LAST_WORDS", 0.0)
        yield


def state_of(view):
    return json.loads(json.dumps({name: plain(_shown(getattr(view, name))) for name in members(State)}))


def _shown(value):
    if isinstance(value, dict):
        return tuple(each.shown for each in value.values())
    return getattr(value, "shown", value)


class Process:
    """A process in which the turn is watched.

    Args:
        reply: The answer, if the turn runs there.
    """

    def __init__(self, row, reply=None):
        self.row, self.reply = row, reply
        self.channel = None
        self.dirty = set()

    def viewer(self, has):
        request = WatchRequest(key=KEY, row=self.row, context=CONTEXT, encoder=JSON, has=has)
        if self.channel is None or self.channel.over:
            self.channel = Channel(KEY, self.row, CONTEXT)
            if self.reply is not None:
                self.channel.follow(self.reply)
        viewer = Viewer(self.channel, request, lambda: None, float("inf"))
        self.channel.viewers.add(viewer)
        return viewer

    def take_up(self, reply):
        """The turn runs here from now on."""
        self.reply = reply
        if self.channel is not None:
            self.channel.follow(reply)

    def show(self):
        """The row is looked at, and what is new is rendered."""
        if self.channel is None:
            return
        for part_id in self.dirty:
            self.channel.note(self.reply, part_id)
        todo = self.channel.begin(float("inf"))
        changed = self.channel.head != (self.row.status, self.row.revision)
        view = self.channel.render(todo.dirty, self.row if changed else None)
        if view is not None:
            self.channel.show(view)
        self.dirty = set()


class World:
    """A turn that runs in one process, is watched there and in another one, and a front end that goes between them."""

    def __init__(self):
        self.reply = Reply(SESSION, PROMPT)
        fold(self.reply, assistant())
        self.row = replace(ROW, status="streaming", revision=1, opencode_prompt_id=PROMPT)
        self.here, self.there = Process(self.row, self.reply), Process(self.row)
        self.client = JsonClient()
        self.viewer = self.here.viewer(None)

    def grow(self, *events):
        dirty = {change.part.id for change in fold(self.reply, *events)}
        for process in (self.here, self.there):
            process.dirty |= dirty if process.reply is not None else set()

    def write(self, **columns):
        more = {"revision": self.row.revision + 1, "parts": self.reply.to_json(), "content": self.reply.text}
        self.row = replace(self.row, **{**more, **columns})
        self.here.row = self.there.row = self.row

    def go(self, process):
        self.client.take(JSON.begin(CONTEXT))
        self.viewer = process.viewer(self.client.last_id)

    def read(self):
        self.client.take(self.viewer.news())
        view = self.viewer.channel.feed.view
        if self.viewer._has is None and view is not None and not self.viewer.pause:
            shown = {**self.client.state, "revision": view.revision}  # which alone is told as an id
            assert shown == state_of(view)


PARTS = st.sampled_from(["p1", "p2", "p3"])
WORDS = st.text(st.sampled_from("ab \n\u2028ü😀\ud800"), min_size=1, max_size=12)
CHANGES = st.one_of(
    st.tuples(st.just("part"), PARTS, WORDS),
    st.tuples(st.just("delta"), PARTS, WORDS),
    st.tuples(st.just("tool"), st.sampled_from(["pending", "running", "completed", "error"])),
)
ROUNDS = st.fixed_dictionaries(
    {
        "changes": st.lists(CHANGES, max_size=3),
        "written": st.none()
        | st.fixed_dictionaries({"asks": st.just([]) | st.just([ASK]), "cost": st.integers(0, 2)}),
        "taken_up": st.sampled_from([False, False, False, True]),
        "goes": st.none() | st.sampled_from(["here", "there"]),
        "reads": st.sampled_from([True, True, False]),
    }
)


def play(world, changes, *, written, taken_up, goes, reads):
    for change in changes:
        match change:
            case "part", part_id, words:
                world.grow(part(part_id, text=words))
            case "delta", part_id, words:
                world.grow(delta(part_id, words))
            case "tool", status:
                state = {"status": status, "input": {"command": "ls"}, "output": "a.txt", "error": "no"}
                world.grow(part("t1", "tool", tool="bash", callID="call_1", state=state))
    if written is not None:
        world.write(**written)
    if taken_up:
        world.there.take_up(world.reply)
    if goes is not None:
        world.go(getattr(world, goes))
    world.here.show(), world.there.show()
    if reads:
        world.read()


@given(st.lists(ROUNDS, max_size=12), st.sampled_from(ENDS), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whoever_applies_the_events_shows_what_the_view_has_wherever_they_come_from(rounds, end, cut):
    world = World()
    for each in rounds:
        play(world, **each)
    parts = world.reply.to_json()[:-1] if cut else world.reply.to_json()
    error = {"name": "Unknown", "message": "!"} if end == "failed" else None
    world.write(status=end, parts=parts, error=error, asks=[])
    world.here.show(), world.there.show()
    world.read()
    assert world.client.end == end
    assert world.client.state == state_of(view_of_row(world.row, None, CONTEXT, frozenset([JSON])))


def told(*texts):
    """What comes of a text that grows to each of these, and what is shown then."""
    feed, client, seen = Feed(), JsonClient(), 0
    for number, each in enumerate(texts, 1):
        row = replace(ROW, status="streaming", revision=number, parts=[text(each)])
        feed.take(view_of_row(row, feed.view, CONTEXT, frozenset([JSON])))
        client.take(feed.since(seen, JSON, CONTEXT))
        seen = feed.version
    return client


def test_of_a_text_that_grows_only_what_came_is_sent():
    client = told("one", "one two", "one two three")
    assert client.events == ["state", "text", "text"]
    assert client.state["parts"][0]["markdown"] == "one two three"


def test_a_text_that_is_another_one_is_sent_whole():
    client = told("one", "another")
    assert client.events == ["state", "part"]
    assert client.state["parts"][0]["markdown"] == "another"


def test_a_long_text_costs_a_line_what_it_is_long():
    size = 500
    client = told(*("word " * number for number in range(1, size)))
    assert client.sent < 2 * 5 * size + 250 * size
    assert client.state["parts"][0]["markdown"] == "word " * (size - 1)


def test_who_reads_seldom_gets_what_came_since_in_one_piece():
    feed, client = Feed(), JsonClient()
    for number in range(1, 50):
        row = replace(ROW, status="streaming", revision=number, parts=[text("word " * number)])
        feed.take(view_of_row(row, feed.view, CONTEXT, frozenset([JSON])))
        if number in (1, 5, 49):
            client.take(feed.since({1: 0, 5: 1, 49: 5}[number], JSON, CONTEXT))
    assert client.events == ["state", "text", "text"]
    assert client.state["parts"][0]["markdown"] == "word " * 49


def test_who_is_far_behind_gets_the_whole_text():
    feed, client = Feed(), JsonClient()
    for number in range(1, 300):
        row = replace(ROW, status="streaming", revision=number, parts=[text("word " * number)])
        feed.take(view_of_row(row, feed.view, CONTEXT, frozenset([JSON])))
        if number == 2:
            client.take(feed.since(0, JSON, CONTEXT))
    client.take(feed.since(2, JSON, CONTEXT))
    assert client.events == ["state", "part"]
    assert client.state["parts"][0]["markdown"] == "word " * 299


def test_the_last_event_of_a_revision_that_was_read_bears_it():
    client = told("one", "one two", "one two three")
    assert client.last_id == 3


def test_a_half_of_a_character_in_a_label_is_sent_as_json_escapes_it():
    question = {"question": "Which?", "options": [{"label": "\ud800"}]}
    row = replace(ROW, asks=[{"id": "que_1", "kind": "question", "questions": [question]}])
    feed, client = Feed(), JsonClient()
    feed.take(view_of_row(row, None, CONTEXT, frozenset([JSON])))
    client.take(feed.since(0, JSON, CONTEXT))
    assert client.state["asks"][0]["questions"][0]["options"][0]["label"] == "\ud800"
