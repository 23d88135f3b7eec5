"""What can go wrong around a call, and that nothing is held afterwards, whatever came of it."""

from __future__ import annotations

import pytest

from opencode_sessions.errors import OpenTransactionError, WrongRowError
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import GONE, in_memory
from opencode_sessions.testing.conformance.rows import found, row_that_is
from opencode_sessions.testing.conformance.table import STATES, Table

__all__ = ["Faults"]


class Faults:
    """A caller's transaction, an id that another row has, a connection that breaks."""

    @pytest.mark.parametrize("state", STATES)
    def test_nothing_is_held_after_any_call(self, bench: RecordBench, state: str) -> None:
        record, table = row_that_is(bench, state)
        store = bench.store(record)
        assert bench.idle(), "before any call"
        for call in table.calls:
            bench.run(call.on(store))
            assert bench.idle(), f"after {call}"
        bench.delete(record)
        for call in table.calls:
            bench.run(call.on(store))
            assert bench.idle(), f"after {call} on no row"

    def test_nothing_is_held_after_a_reading_function_that_raised(self, bench: RecordBench) -> None:
        def fail(_: object) -> None:
            raise LookupError("no rules for this one")

        store = bench.store(bench.record())
        with pytest.raises(LookupError):
            bench.run(store.read(fail))
        assert bench.idle()

    def test_an_open_transaction_of_the_caller_is_refused(self, bench: RecordBench) -> None:
        with bench.open_transaction(bench.record()) as store:
            with pytest.raises(OpenTransactionError) as caught:
                store.check()
            assert caught.value.record == store.key
        store.check()

    def test_an_id_that_another_row_has_is_refused_and_nothing_changes(self, bench: RecordBench) -> None:
        if bench.collision is None:
            pytest.skip(f"{type(bench).__name__} has nothing against an id in two rows (collision)")
        record, table = row_that_is(bench, "ready")
        for state in ("new", "reserved", "ready", "deleting"):
            other, own = row_that_is(bench, state)
            store = bench.store(other)
            with pytest.raises(bench.collision):
                bench.run(store.reserve(own.rows[state].session_id, table.a))
            store.check()
            assert found(bench, other) == own.rows[state]
            assert bench.run(store.reserve(own.rows[state].session_id, own.b)).session_id == own.b
        assert found(bench, record) == table.rows["ready"]

    def test_another_row_under_the_same_key_is_refused_and_left_alone(self, bench: RecordBench) -> None:
        record, table = row_that_is(bench, "ready")
        store = bench.store(record)
        bench.replace(record)
        for call in table.calls:
            if table.answer_of_none(call) == GONE:
                with pytest.raises(WrongRowError):
                    bench.run(call.on(store))
            else:
                assert bench.run(call.on(store)) is False, f"{call} on another row"
        assert found(bench, record) == table.rows["ready"]

    @pytest.mark.parametrize("done", [True, False], ids=["committed", "not-committed"])
    @pytest.mark.parametrize("state", STATES)
    def test_after_a_connection_broke_at_commit_the_next_caller_goes_on_from_there(
        self, bench: RecordBench, state: str, *, done: bool
    ) -> None:
        for number in range(len(Table().transitions[state])):
            record, table = row_that_is(bench, state)
            call, after = list(table.transitions[state].items())[number]
            row = after if done else table.rows[state]
            with bench.breaking(done=done) as broken:
                with pytest.raises(Exception):  # noqa: B017, PT011 - what happened is unknown, and the driver's to say
                    broken.run(call.on(broken.store(record)))
                assert broken.idle(), f"after {call}"
                assert found(broken, record) == row, f"the row after {call}, which was {state}"
                answer, then = in_memory(call, row)
                assert broken.run(call.on(broken.store(record))) == answer, f"{call} on {row}, once more"
            assert found(bench, record) == then
