"""What every call does on every row, one caller after the other, and what is stored of an answer."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

import pytest

from opencode_sessions.protocol.storable import storable
from opencode_sessions.store.messages import MessageState, TurnStatus
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import GONE
from opencode_sessions.testing.conformance.messages.port import (
    LOAD,
    Row,
    cancel,
    extend,
    finish,
    snapshot,
    take,
    told,
)
from opencode_sessions.testing.conformance.messages.rows import (
    CANCELLED,
    PROMPT,
    SAID,
    STATES,
    Turn,
    found,
    turn_that_is,
)

__all__ = ["Transitions"]

_STEPS: Final = 50

_TEXTS: Final = {
    "many languages": "Grüße, 日本語, مرحبا, 🇮🇹 👩‍👩‍👧 \u2028 \u2029 \x85",
    "quotes and the like": "'single' \"double\" `back` \\ %s {} ? :name $1 -- /* */ ;",
    "white space": "\t leading\r\n and trailing \n\n",
    "what JSON escapes": "\x01\x1f\x7f\b\f",
    "nothing": "",
    "more than 64 KB": "a word " * 15_000,
}


class Transitions:
    """The table of the port, and the values that a row holds."""

    @pytest.mark.parametrize("state", STATES)
    def test_every_call_does_what_the_port_says(self, bench: RecordBench, state: str) -> None:
        message, turn = turn_that_is(bench, state)
        store, row, changing = bench.store(message), turn.row(state), []
        for number, call in enumerate(turn.calls(row)):
            answer, after = told(call, row)
            if after != row:
                changing.append(number)
            else:
                assert bench.run(call.on(store)) == answer, f"{call} on a row that was {state}"
        assert found(bench, message) == row, f"calls that change nothing of a row that was {state} did"
        for number in changing:
            message, turn = turn_that_is(bench, state)
            call = turn.calls(turn.row(state))[number]
            answer, after = told(call, turn.row(state))
            assert bench.run(call.on(bench.store(message))) == answer, f"{call} on a row that was {state}"
            assert found(bench, message) == after, f"the row after {call}, which was {state}"

    @pytest.mark.parametrize("state", ["pending", "speaking", "cancelled while it spoke"])
    def test_a_row_that_vanished_is_gone_for_every_call(self, bench: RecordBench, state: str) -> None:
        message, turn = turn_that_is(bench, state)
        store = bench.store(message)
        bench.run(store.load())
        bench.delete(message)
        for call in turn.calls(turn.row(state)):
            assert bench.run(call.on(store)) == told(call, "gone")[0], f"{call} on no row"

    def test_two_callers_who_take_turns_see_one_row(self, bench: RecordBench) -> None:
        """They wander through the states, many times from the beginning; the draw is always the same."""
        draw = random.Random("two callers")  # noqa: S311 - it keeps no secrets
        row: Row = "ended"
        for _ in range(_STEPS):
            if not isinstance(row, MessageState) or row.status.terminal:
                message, turn, row = bench.message(PROMPT), Turn.new(), MessageState(PROMPT)
                callers = [bench.store(message) for _ in range(2)]
            call = draw.choice(turn.calls(row))
            answer, then = told(call, row)
            assert bench.run(call.on(draw.choice(callers))) == answer, f"{call} on {row}"
            assert bench.run(draw.choice(callers).load()) == then, f"the row after {call} on {row}"
            row = then

    def test_all_callers_of_a_row_know_it_by_one_key(self, bench: RecordBench) -> None:
        message = bench.message(PROMPT)
        key = bench.store(message).key
        assert key
        assert bench.store(message).key == key
        assert bench.store(bench.message(PROMPT)).key != key

    def test_another_row_is_reached_by_its_key(self, bench: RecordBench) -> None:
        message, turn = turn_that_is(bench, "speaking")
        store, key = bench.store(bench.message(PROMPT)), bench.store(message).key
        sibling = store.sibling(key)
        store.check()  # it takes no query
        assert sibling is not None
        assert sibling.key == key
        sibling.check()
        row = turn.row("speaking")
        assert bench.run(LOAD.on(sibling)) == row
        assert bench.run(cancel(row, CANCELLED).on(sibling))
        sibling.remember(row)
        assert found(bench, message) == turn.row("cancelled while it spoke")

    def test_what_is_no_key_of_its_table_leads_to_no_row(self, bench: RecordBench) -> None:
        store = bench.store(bench.message(PROMPT))
        for key in ("", ":", "another_table:1", f"another_{store.key}", store.key.replace(":", "", 1)):
            assert store.sibling(key) is None, f"sibling({key!r})"

    def test_the_key_of_a_row_that_vanished_leads_to_a_row_that_is_gone(self, bench: RecordBench) -> None:
        store, message = bench.store(bench.message(PROMPT)), bench.message(PROMPT)
        key = bench.store(message).key
        bench.delete(message)
        sibling = store.sibling(key)
        assert sibling is None or bench.run(LOAD.on(sibling)) == GONE

    def test_what_a_copy_is_let_remember_takes_no_query(self, bench: RecordBench) -> None:
        message, turn = turn_that_is(bench, "speaking")
        store = bench.store(message)
        for vanished in (False, True):
            if vanished:
                bench.delete(message)
            store.remember(replace(turn.row("speaking"), status=TurnStatus.COMPLETED))
            store.check()  # which refuses an open transaction, such as a query would have begun

    @pytest.mark.parametrize("kind", _TEXTS)
    def test_what_was_said_is_stored_to_the_letter(self, bench: RecordBench, kind: str) -> None:
        text = _TEXTS[kind]
        said = replace(
            SAID,
            content=text,
            parts=({"type": "text", "text": text, "nested": [{"text": text[:100]}]},),
            asks=({"id": "que_1", "questions": [{"question": text[:100]}]},),
            error={"message": text[:100]},
        )
        assert _stored(bench, said) == said

    def test_numbers_and_the_shapes_of_json_come_back_as_they_were(self, bench: RecordBench) -> None:
        odd = {
            "empty": [{}, [], "", None],
            "numbers": [0, -1, 2**53 - 1, 0.1, 1e-9, 2.5e15],
            "truths": [True, False],
            "": "an empty name",
            "deep": _nested(25),
        }
        said = replace(
            SAID,
            parts=tuple({**odd, "number": number} for number in range(100)),
            cost=0.1 + 0.2,
            input_tokens=2**31 - 1,
            output_tokens=0,
            revision=2**31 - 1,
        )
        assert _stored(bench, said) == said

    @pytest.mark.parametrize(
        "odd", ["nul \x00", "half a pair \ud83d", "the other half \ude00"], ids=["nul", "high", "low"]
    )
    def test_what_no_database_takes_is_stored_too_if_need_be_with_a_replacement(
        self, bench: RecordBench, odd: str
    ) -> None:
        said = replace(SAID, content=odd, parts=({"type": "text", odd: [odd]},), error={"message": odd})
        plain = replace(
            said, content=storable(odd), parts=tuple(storable(said.parts)), error=storable(said.error)
        )
        assert _stored(bench, said) in (said, plain)

    @pytest.mark.parametrize("off", [300.0, -300.0])
    def test_a_lease_goes_by_the_stores_clock_whatever_the_hosts_say(
        self, bench: RecordBench, off: float
    ) -> None:
        for first, second in ((off, 0.0), (0.0, off)):
            for lease, abandoned in ((60.0, False), (0.0, True)):
                message, turn = turn_that_is(bench, "pending")
                for call in (
                    take(turn.row("pending"), lease),
                    extend(1, lease),
                    snapshot(1, SAID, lease),
                ):
                    with bench.clock_off(first):
                        assert bench.run(call.on(bench.store(message)))
                    with bench.clock_off(second):
                        row = found(bench, message)
                    assert isinstance(row, MessageState)
                    assert row.abandoned == abandoned, f"{call} at {first:+g} s, read at {second:+g} s"

    def test_a_prompt_is_as_its_host_wrote_it(self, bench: RecordBench) -> None:
        for prompt in (_TEXTS["many languages"], _TEXTS["more than 64 KB"]):
            message = bench.message(prompt)
            assert found(bench, message) == MessageState(prompt)


def _stored(bench: RecordBench, said: MessageState) -> MessageState:
    """What is found of an answer that was stored on its way, and again at its end."""
    message = bench.message(PROMPT)
    store, seen = bench.store(message), MessageState(PROMPT)
    assert bench.run(take(seen).on(store))
    assert bench.run(snapshot(1, said).on(store))
    row = found(bench, message)
    assert isinstance(row, MessageState)
    assert bench.run(finish(1, replace(said, asks=())).on(store))
    assert found(bench, message) == replace(row, status=said.status, asks=())
    return replace(row, prompt=said.prompt, status=said.status, epoch=said.epoch, session_id=said.session_id)


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else "here"
