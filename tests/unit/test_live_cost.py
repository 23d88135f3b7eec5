"""What it costs to show an answer while it grows: counted, on a clock of the test's own."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from reply_events import SESSION, assistant, delta, fold, part

from opencode_sessions.live import RenderContext, live_reply
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.turn_table import TurnRow

_ROW = TurnRow(
    status="streaming", revision=1, content="", parts=[], asks=[], error=None, cost=0.0, input_tokens=0,
    output_tokens=0, opencode_prompt_id=None,
)  # fmt: skip
_STEP = 0.02


class Counting:
    """Renders a text as it is, and notes the lengths."""

    def __init__(self, *, sends_growth=False):
        self.sends_growth = sends_growth
        self.sizes = []

    def render(self, shown, context):
        self.sizes.append(len(shown.markdown))
        return shown.markdown


@pytest.fixture
def clock(monkeypatch):
    """Set `now`; rendering takes no time by it."""
    clock = SimpleNamespace(now=0.0)
    time = SimpleNamespace(monotonic=lambda: clock.now, thread_time=lambda: 0.0)
    monkeypatch.setattr(live_reply, "time", time)
    return clock


def _show(clock, renderer, size, rate):
    """An answer of so many characters comes, so many a second, and is shown as soon as it may be.

    Returns its length, and when it was shown.
    """
    reply = Reply(SESSION, "msg_prompt")
    fold(reply, assistant(), part("p1", text=""))
    live = live_reply.LiveReply(reply, RenderContext())
    said, clock.now, shown = 0, 100.0, []
    while said < size or live.due < float("inf"):
        if said < size:
            fold(reply, delta("p1", "x" * int(rate * _STEP)))
            said += int(rate * _STEP)
            live.note("p1")
        if live.due <= clock.now:
            live.view(live.collect(clock.now), _ROW, {}, frozenset([renderer]))
            shown.append(clock.now)
        clock.now += _STEP
    return len(reply.text), shown


@pytest.mark.parametrize("rate", [500, 5_000, 50_000])
@pytest.mark.parametrize("size", [50_000, 100_000, 200_000])
def test_what_is_rendered_of_an_answer_grows_with_its_length_and_its_time(clock, size, rate):
    renderer = Counting()
    length, _ = _show(clock, renderer, size, rate)
    assert length == renderer.sizes[-1] == size
    assert sum(renderer.sizes) <= live_reply.RATE * size / rate + 2 * size


def test_where_only_the_growth_is_sent_a_long_answer_is_shown_as_often_as_a_short_one(clock):
    _, shown = _show(clock, Counting(sends_growth=True), 100_000, 500)
    assert max(later - one for one, later in pairwise(shown)) < 0.2
