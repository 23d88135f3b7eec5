from __future__ import annotations

import time
import tracemalloc

import pytest
from reply_events import SESSION, assistant, begun, delta, fold, part

from opencode_sessions.protocol.reply import Reply


@pytest.fixture
def reply():
    return begun()


def test_deltas_whose_part_never_comes_are_kept_within_bounds(reply):
    for number in range(2_000):
        reply.apply(delta(f"p{number}", "x" * 1_000))
    kept = sum(len(early.text) for early in reply._early.values())
    assert kept <= 1 << 20
    reply.apply(assistant(completed=True, finish="stop"))
    assert not reply._early


def test_a_part_costs_what_is_added_to_it_however_long_it_is():
    def seconds(size):
        best = []
        for _ in range(3):
            reply = Reply(SESSION, "msg_prompt")
            fold(reply, assistant(), part("p1", text=""))
            deltas = [delta("p1", f"word {number} ") for number in range(size)]
            start = time.process_time()
            fold(reply, *deltas)
            best.append(time.process_time() - start)
        return min(best)

    # Eight times the deltas: about 8 times the time, where copying what is held would give 64.
    assert seconds(32_000) < 25 * seconds(4_000)


def test_a_part_takes_the_memory_of_its_text(reply):
    fold(reply, part("p1", text=""))
    tracemalloc.start()
    try:
        for number in range(40_000):
            reply.apply(delta("p1", f"word {number} "))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2 * len(reply.text)


def test_parts_that_never_come_are_kept_within_bounds_however_little_they_say(reply):
    for number in range(2_000):
        reply.apply(delta(f"p{number}", "x"))
    assert len(reply._early) < 300
