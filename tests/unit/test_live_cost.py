"""What it costs to show an answer while it grows: counted, on a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from reply_events import SESSION, assistant, delta, fold, part

from opencode_sessions.django.live import following
from opencode_sessions.django.live.drawing import Row
from opencode_sessions.protocol.reply import Reply

_ROW = Row(
    status="streaming", revision=1, content="", parts=[], asks=[], error=None, cost=0.0, input_tokens=0,
    output_tokens=0, opencode_prompt_id=None,
)  # fmt: skip
_STEP = 0.02


@pytest.fixture
def clock(monkeypatch):
    """Set `now`; drawing takes no time by it."""
    clock = SimpleNamespace(now=0.0)
    time = SimpleNamespace(monotonic=lambda: clock.now, thread_time=lambda: 0.0)
    monkeypatch.setattr(following, "time", time)
    return clock


@pytest.fixture
def drawn(monkeypatch):
    """The characters of HTML of each drawing of a part."""
    sizes = []

    def draw_part(told, *_, **__):
        shown = SimpleNamespace(id="part-p1", html="x" * len(told.get("text", "")))
        sizes.append(len(shown.html))
        return shown

    monkeypatch.setattr(following, "draw_part", draw_part)
    return sizes


def _show(clock, size, rate):
    """An answer of so many characters comes, so many a second, and is drawn as soon as it may be."""
    reply = Reply(SESSION, "msg_prompt")
    fold(reply, assistant(), part("p1", text=""))
    follows = following.Following(reply)
    said, clock.now = 0, 100.0
    while said < size or follows.due < float("inf"):
        if said < size:
            fold(reply, delta("p1", "x" * int(rate * _STEP)))
            said += int(rate * _STEP)
            follows.note("p1")
        if follows.due <= clock.now:
            follows.draw(follows.collect(clock.now), _ROW, {})
        clock.now += _STEP
    return len(reply.text)


@pytest.mark.parametrize("rate", [500, 5_000, 50_000])
@pytest.mark.parametrize("size", [50_000, 100_000, 200_000])
def test_what_is_drawn_of_an_answer_grows_with_its_length_and_its_time(clock, drawn, size, rate):
    assert _show(clock, size, rate) == drawn[-1] == size
    assert sum(drawn) <= following.RATE * size / rate + 2 * size
