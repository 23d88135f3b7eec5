"""What every call does to every row, one caller after the other, and what a store shows of itself."""

from __future__ import annotations

import itertools

import pytest

from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import Row, in_memory
from opencode_sessions.testing.conformance.rows import found, row_that_is
from opencode_sessions.testing.conformance.table import STATES, Table, tour

__all__ = ["Transitions"]


class Transitions:
    """The table of the port, and a copy's view of it."""

    @pytest.mark.parametrize("state", STATES)
    def test_every_call_does_what_the_table_says(self, bench: RecordBench, state: str) -> None:
        changed = True
        for number in range(len(Table().calls)):
            if changed:
                record, table = row_that_is(bench, state)
                caller, witness = bench.store(record), bench.store(record)
            call = table.calls[number]
            answer, after = table.answer(state, call)
            assert bench.run(call.on(caller)) == answer, f"{call} on a row that was {state}"
            assert bench.run(witness.load()) == after, f"the row after {call}, which was {state}"
            changed = after != table.rows[state]

    @pytest.mark.parametrize("state", STATES)
    def test_a_row_that_vanished_is_gone_for_every_call(self, bench: RecordBench, state: str) -> None:
        record, table = row_that_is(bench, state)
        store = bench.store(record)
        bench.run(store.load())
        bench.delete(record)
        for call in table.calls:
            assert bench.run(call.on(store)) == table.answer_of_none(call), f"{call} on no row"

    def test_two_callers_who_take_turns_see_one_row(self, bench: RecordBench) -> None:
        """Every call in every state, in one long walk; the answers are compared with those in memory."""
        table, record = Table(), bench.record()
        row: Row = table.rows["new"]
        callers = itertools.cycle([bench.store(record), bench.store(record)])
        for call, caller in zip(tour(table.calls), callers, strict=False):
            answer, then = in_memory(call, row)
            assert bench.run(call.on(caller)) == answer, f"{call} on {row}"
            row = then

    def test_all_callers_of_a_row_know_it_by_one_key(self, bench: RecordBench) -> None:
        record = bench.record()
        key = bench.store(record).key
        assert key
        assert bench.store(record).key == key
        assert bench.store(bench.record()).key != key

    def test_a_new_row_shows_no_session(self, bench: RecordBench) -> None:
        assert bench.store(bench.record()).seen is None

    def test_a_copy_shows_what_it_is_let_remember_without_a_query(self, bench: RecordBench) -> None:
        record, table = bench.record(), Table()
        store = bench.store(record)
        for state in STATES:
            for call in table.ways[state][-1:]:
                bench.run(call.on(store))
            store.remember(table.rows[state])
            assert store.seen == table.rows[state].session_id
            store.check()  # which refuses an open transaction, such as a query would have begun

    def test_a_copy_shows_what_it_is_let_remember_of_a_row_that_vanished(self, bench: RecordBench) -> None:
        record, table = row_that_is(bench, "ready")
        store = bench.store(record)
        bench.delete(record)
        store.remember(table.rows["ready"])
        assert store.seen == table.a
        store.check()

    def test_what_a_reading_function_raises_comes_through(self, bench: RecordBench) -> None:
        def fail(_: object) -> None:
            raise LookupError("no rules for this one")

        record, table = row_that_is(bench, "ready")
        store = bench.store(record)
        with pytest.raises(LookupError, match="no rules for this one"):
            bench.run(store.read(fail))
        store.check()
        assert found(bench, record) == table.rows["ready"]
