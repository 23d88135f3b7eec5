"""What can go wrong around a call, and that nothing is held afterwards, whatever came of it."""

from __future__ import annotations

import pytest

from opencode_sessions.errors import OpenTransactionError, WrongRowError
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.messages.port import LOAD, set_prompt_target, told
from opencode_sessions.testing.conformance.messages.rows import PROMPT, Turn, found, turn_that_is

__all__ = ["Faults"]


class Faults:
    """A caller's transaction, a prompt's id that another row has, a connection that breaks."""

    @pytest.mark.parametrize("state", ["pending", "speaking"])
    def test_nothing_is_held_after_any_call(self, bench: RecordBench, state: str) -> None:
        message, turn = turn_that_is(bench, state)
        store = bench.store(message)
        assert bench.idle(), "before any call"
        for call in turn.calls(turn.row(state)):
            bench.run(call.on(store))
            assert bench.idle(), f"after {call}"
        bench.delete(message)
        for call in turn.calls(turn.row(state)):
            bench.run(call.on(store))
            assert bench.idle(), f"after {call} on no row"

    def test_an_open_transaction_of_the_caller_is_refused(self, bench: RecordBench) -> None:
        with bench.open_transaction(bench.message(PROMPT)) as store:
            with pytest.raises(OpenTransactionError) as caught:
                store.check()
            assert caught.value.record == store.key
        store.check()

    def test_a_prompts_id_that_another_row_has_is_refused_and_nothing_changes(
        self, bench: RecordBench
    ) -> None:
        if bench.collision is None:
            pytest.skip(f"{type(bench).__name__} has nothing against an id in two rows (collision)")
        first, taken = turn_that_is(bench, "addressed")
        second, own = turn_that_is(bench, "taken")
        store = bench.store(second)
        with pytest.raises(bench.collision):
            bench.run(store.set_prompt_target(1, own.session_id, taken.prompt_id))
        store.check()
        assert found(bench, second) == own.row("taken")
        assert bench.run(set_prompt_target(1, own.session_id, own.prompt_id).on(store))
        assert found(bench, second) == own.row("addressed")
        assert found(bench, first) == taken.row("addressed")

    def test_another_row_under_the_same_key_is_refused_and_left_alone(self, bench: RecordBench) -> None:
        message, turn = turn_that_is(bench, "speaking")
        store, row = bench.store(message), turn.row("speaking")
        bench.replace(message)
        for call in turn.calls(row):
            if call == LOAD:
                with pytest.raises(WrongRowError):
                    bench.run(call.on(store))
            else:
                assert bench.run(call.on(store)) is False, f"{call} on another row"
        assert found(bench, message) == row

    @pytest.mark.parametrize("done", [True, False], ids=["committed", "not-committed"])
    @pytest.mark.parametrize("state", ["pending", "speaking"])
    def test_after_a_connection_broke_at_commit_the_next_caller_goes_on_from_there(
        self, bench: RecordBench, state: str, *, done: bool
    ) -> None:
        for number in _changing(state):
            message, turn = turn_that_is(bench, state)
            before = turn.row(state)
            call = turn.calls(before)[number]
            row = told(call, before)[1] if done else before
            with bench.breaking(done=done) as broken:
                with pytest.raises(Exception):  # noqa: B017, PT011 - what happened is unknown, and the driver's to say
                    broken.run(call.on(broken.store(message)))
                assert broken.idle(), f"after {call}"
                assert found(broken, message) == row, f"the row after {call}, which was {state}"
                answer, then = told(call, row)
                assert broken.run(call.on(broken.store(message))) == answer, f"{call} on {row}, once more"
            assert found(bench, message) == then


def _changing(state: str) -> list[int]:
    """The numbers of the calls that change such a row, one of each method."""
    turn = Turn.new()
    row, methods = turn.row(state), {LOAD.method}
    numbers = []
    for number, call in enumerate(turn.calls(row)):
        if call.method not in methods and told(call, row)[1] != row:
            methods.add(call.method)
            numbers.append(number)
    return numbers
