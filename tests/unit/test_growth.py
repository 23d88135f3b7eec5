"""What a watcher shows of a turn that runs elsewhere, from its row and from deltas that come as they like."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched_rows import ROW, text

from opencode_sessions.live.growth import Growth
from opencode_sessions.live.notes import Delta, RowWritten, TextEnd, checksum, decode, encode
from opencode_sessions.live.outbox import Outbox

PART = "prt_1"
SAID = "one two three four"


def row(said, **more):
    return replace(ROW, status="streaming", parts=[text(said, PART)], content=said, **more)


def delta(whole, start, end):
    return Delta(TextEnd(PART, start, checksum(whole[:start])), whole[start:end])


def shown(growth, row):
    return growth.over(row).parts[0]["text"]


def test_a_delta_makes_the_text_of_the_row_longer():
    growth = Growth()
    assert growth.add(delta(SAID, 3, 7), row("one"))
    grown = growth.over(row("one"))
    assert grown.parts == [text("one two", PART)]
    assert grown.content == "one two"


def test_a_delta_that_comes_twice_or_overlaps_is_told_once():
    growth = Growth()
    assert growth.add(delta(SAID, 3, 7), row("one"))
    assert not growth.add(delta(SAID, 3, 7), row("one"))
    assert growth.add(delta(SAID, 0, 13), row("one"))
    assert shown(growth, row("one")) == "one two three"


def test_a_delta_after_one_that_was_lost_waits_for_the_row():
    growth = Growth()
    assert not growth.add(delta(SAID, 7, 13), row("one"))
    assert shown(growth, row("one")) == "one"
    assert shown(growth, row("one two")) == "one two three"


def test_a_delta_of_a_part_that_the_row_lacks_waits_for_the_row():
    growth = Growth()
    assert not growth.add(delta(SAID, 0, 3), ROW)
    assert shown(growth, row("")) == "one"


@pytest.mark.parametrize("other", ["uno", "two"])
def test_a_delta_of_another_text_is_ignored(other):
    growth = Growth()
    assert not growth.add(delta(SAID, 3, 7), row(other))
    assert shown(growth, row(other)) == other


def test_a_text_that_was_shown_stays_until_the_row_has_as_much_or_its_part_has_ended():
    growth = Growth()
    growth.add(delta(SAID, 3, 13), row("one"))
    assert shown(growth, row("one twin")) == "one two three"
    ended = replace(row(""), parts=[{**text("one", PART), "time": {"start": 1, "end": 2}}])
    assert shown(growth, ended) == "one"
    growth.add(delta(SAID, 3, 7), row("one"))
    assert shown(growth, row("one twins")) == "one twins"


def test_the_row_of_a_turn_that_has_ended_is_right():
    growth = Growth()
    growth.add(delta(SAID, 3, 13), row("one"))
    assert shown(growth, replace(row("one"), status="completed")) == "one"


@st.composite
def stories(draw):
    """A whole text, and what a watcher is given: deltas in any order, some twice, some never; and rows as they grow."""
    whole = draw(st.text(alphabet="ab\U0001f600\x00\ud83d\n", max_size=40))
    cuts = sorted([0, len(whole), *draw(st.lists(st.integers(0, len(whole)), max_size=12))])
    deltas = [delta(whole, start, end) for start, end in pairwise(cuts) if start < end]
    told = draw(st.lists(st.sampled_from(deltas), max_size=30)) if deltas else []
    rows = [row(whole[:cut]) for cut in sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))]
    places = sorted(draw(st.lists(st.integers(0, len(told)), min_size=len(rows), max_size=len(rows))))
    steps = list(told)
    for place, each in zip(reversed(places), reversed(rows), strict=True):
        steps.insert(place, each)
    return whole, steps


@given(stories())
def test_whatever_is_lost_repeated_or_reordered_the_text_only_grows_and_ends_right(story):
    whole, steps = story
    growth, current, before = Growth(), row(""), ""
    for step in steps:
        if isinstance(step, Delta):
            growth.add(step, current)
        else:
            current = step
        now = shown(growth, current)
        assert whole.startswith(now)
        assert len(now) >= len(before)
        assert len(now) >= len(current.content)
        before = now
    over = replace(row(whole), status="completed")
    assert growth.over(over) is over


@given(stories())
def test_deltas_that_all_come_in_order_tell_all_of_the_text(story):
    whole, _ = story
    growth = Growth()
    for place in range(len(whole)):
        assert growth.add(delta(whole, place, place + 1), row(""))
    assert shown(growth, row("")) == whole
    assert growth.ends_at(TextEnd(PART, len(whole), checksum(whole)), row(""))


@given(st.lists(st.text(alphabet='a\U0001f600\x00\ud83d"', max_size=900), max_size=12))
def test_what_waits_in_an_outbox_is_joined_and_cut_so_that_each_note_fits(texts):
    outbox, whole = Outbox(), ""
    for each in texts:
        outbox.put("topic", Delta(TextEnd(PART, len(whole), checksum(whole)), each))
        whole += each
    growth = Growth()
    for topic, note in outbox.take():
        told = encode(note, "origin")
        assert topic == "topic"
        assert len(told.encode("ascii")) <= 7_500
        assert decode(told) == ("origin", note)
        growth.add(note, row(""))
    assert shown(growth, row("")) == whole
    assert outbox.take() == []


class CountedTopic(str):
    """A topic that counts how often an outbox handles it: at each time its hash is needed."""

    __slots__ = ()
    handled = 0

    def __hash__(self):
        CountedTopic.handled += 1
        return super().__hash__()


@pytest.mark.parametrize("topics", [3, 20_000])
def test_an_outbox_that_nobody_empties_stays_small_and_each_note_costs_the_same(topics):
    outbox, CountedTopic.handled = Outbox(), 0
    for number in range(20_000):
        outbox.put(CountedTopic(f"topic{number % topics}"), RowWritten(number, number))
        assert len(outbox._topics) <= 5_000
    assert CountedTopic.handled == 20_000
    outbox.put("last", RowWritten(1, 1))
    waiting = outbox.take()
    assert 0 < len(waiting) <= 5_000
    assert waiting[-1] == ("last", RowWritten(1, 1))


@pytest.mark.parametrize(
    "told", ["", "{}", "[]", '["a", "delta", 1, 2]', '["a", "news", 1]', "\x00", "[" * 10_000]
)
def test_a_note_that_is_none_is_ignored(told):
    assert decode(told) is None
