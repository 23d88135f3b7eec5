"""A hub that watches a turn of another process, as a notifier tells of it."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest
from json_client import JsonClient
from reply_events import SESSION, assistant, delta, fold, part
from watched_rows import KEY, WatchedRows, text

from opencode_sessions.frontends.display_json import JSON
from opencode_sessions.live import LiveHub, RenderContext, WatchRequest, stream
from opencode_sessions.live.notes import RowWritten
from opencode_sessions.live.notify_valkey import ValkeyNotifier
from opencode_sessions.live.relay import Relay
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.runtime.threads import Threads
from opencode_sessions.store.messages import MessageState
from opencode_sessions.turns.events import ReplyChanged


class Runner:
    """The process that runs the turn, and writes its row."""

    def __init__(self, rows, relay):
        self._rows = rows
        self.reply = Reply(SESSION, "msg_prompt")
        self._teller = relay.teller(KEY)
        self._store = self._teller.store(self)

    def fold(self, *events):
        for change in fold(self.reply, *events):
            self._teller(ReplyChanged(change, self.reply))

    def write(self):
        revision, parts = self._rows.rows[KEY].revision + 1, tuple(self.reply.to_json())
        run_sync(self._store.snapshot(1, MessageState("", parts=parts, revision=revision), 60))

    async def snapshot(self, epoch, state, lease):
        self._rows.write(status="streaming", parts=list(state.parts), revision=state.revision)
        return True


class Watcher(JsonClient):
    """A browser at another process."""

    def __init__(self, rows, relay):
        super().__init__()
        self._rows = rows
        self.hub = LiveHub(rows, Threads(), lambda: relay)
        self.shown = []

    def __enter__(self):
        request = WatchRequest(key=KEY, row=self._rows.rows[KEY], context=RenderContext(), encoder=JSON)
        self._reader = threading.Thread(target=self._read, args=[request])
        self._reader.start()
        return self

    def __exit__(self, *exc_info):
        run_sync(self.hub.close(5))
        self._reader.join(60)

    def _read(self, request):
        for said in stream(self.hub, request):
            self.take(said)
            self.shown.append(self.text)

    @property
    def text(self):
        return "".join(part["markdown"] for part in self.state["parts"]) if self.state else ""

    @property
    def follows(self):
        return all(channel._notes_come for channel in self.hub._all()) and self.hub._channels


class Losing(ValkeyNotifier):
    """Loses deltas."""

    loses = ""

    def sender(self, *, suspends):
        sender = super().sender(suspends=suspends)
        send = sender.send

        async def lose(told):
            if kept := [(topic, each) for topic, each in told if not (Losing.loses and Losing.loses in each)]:
                await send(kept)

        sender.send = lose
        return sender


@pytest.fixture
def relays(valkey):
    """Two, of two processes."""
    url = valkey()
    made = [Relay(Losing(url), Threads()) for _ in range(2)]
    yield made
    for relay in made:
        run_sync(relay.close())


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_text_comes_before_it_is_stored_and_a_row_that_only_grew_is_not_read(relays):
    rows = WatchedRows()
    runner = Runner(rows, relays[0])
    with Watcher(rows, relays[1]) as watcher:
        until(lambda: watcher.follows)
        runner.fold(assistant(), part("p1", text=""))
        runner.write()
        runner.fold(delta("p1", "one"))
        until(lambda: watcher.text == "one")
        looks = rows.looks
        runner.write()
        for word in (" two", " three", " four"):
            runner.fold(delta("p1", word))
            until(lambda word=word: watcher.text.endswith(word))
            runner.write()
        until(lambda: not any(channel._notes for channel in watcher.hub._all()))
        assert rows.looks - looks <= 1  # there is a slow look, whatever comes
        assert watcher.events.count("state") <= 3
        runner.fold(part("p2", text="five"))
        runner.write()
        until(lambda: watcher.text == "one two three fourfive")
    assert all(after.startswith(before) for before, after in pairwise(watcher.shown))


@pytest.mark.parametrize(
    "loses",
    [
        pytest.param('"delta"', id="deltas, until the next write"),
        pytest.param('"p1"', id="all, until the row is looked at", marks=pytest.mark.full),
    ],
)
def test_what_was_lost_is_read_from_the_row(relays, monkeypatch, loses):
    rows = WatchedRows()
    runner = Runner(rows, relays[0])
    with Watcher(rows, relays[1]) as watcher:
        until(lambda: watcher.follows)
        runner.fold(assistant(), part("p1", text=""), delta("p1", "one"))
        runner.write()
        until(lambda: watcher.text == "one")
        monkeypatch.setattr(Losing, "loses", loses)
        runner.fold(delta("p1", " two"))
        runner.write()
        until(lambda: watcher.text == "one two")


def test_a_browser_that_comes_late_begins_with_the_row_and_goes_on_with_deltas(relays):
    rows = WatchedRows()
    runner = Runner(rows, relays[0])
    runner.fold(assistant(), part("p1", text=""), delta("p1", "one"))
    runner.write()
    with Watcher(rows, relays[1]) as watcher:
        until(lambda: watcher.follows and watcher.text == "one")
        runner.fold(delta("p1", " two"))
        until(lambda: watcher.text == "one two")
        assert rows.rows[KEY].parts[0]["text"] == "one"


def test_the_end_is_shown_as_soon_as_it_is_told(relays):
    rows = WatchedRows()
    with Watcher(rows, relays[1]) as watcher:
        until(lambda: watcher.follows)
        rows.write(status="completed", parts=[text("all of it")])
        relays[0].tell(KEY, RowWritten())
        until(lambda: watcher.end)
    assert (watcher.end, watcher.text) == ("completed", "all of it")


def test_without_notes_the_row_is_looked_at_as_often_as_ever(relays):
    rows = WatchedRows()
    with Watcher(rows, Relay(None, Threads())) as watcher:
        until(lambda: rows.looks > 3)
        rows.write(status="completed", parts=[text("all of it")])
        until(lambda: watcher.end)
