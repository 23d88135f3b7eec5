"""Which turns are going to be run, and which were left behind."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

import pytest

from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Reservations"]

_SHORT: Final = 0.5
_PATIENCE: Final = 60.0
_MANY: Final = 20


class Reservations(Staged):
    """`reserve`, `renew`, `release` and `abandoned`."""

    def test_a_turn_keeps_the_time_at_which_it_was_first_enqueued(self, stage: Stage) -> None:
        message = stage.message()
        assert stage.bench.run(stage.store(message).load()).enqueued_at is None
        stage.reserve(message)
        enqueued_at = stage.bench.run(stage.store(message).load()).enqueued_at
        assert enqueued_at is not None
        stage.reserve(message)
        assert stage.bench.run(stage.store(message).load()).enqueued_at == enqueued_at

    def test_a_reserved_turn_is_believed_in_until_its_time_has_run_out(self, stage: Stage) -> None:
        live, out, draft = stage.reserved(), stage.reserved(seconds=OUT), stage.message()
        assert stage.abandoned(OUT) == [out]
        stage.reserve(draft, OUT)
        stage.reserve(out, LIVE)
        assert stage.abandoned(OUT) == [draft]
        stage.reserve(live, OUT)
        assert stage.abandoned(OUT) == [live, draft]

    def test_nothing_happens_to_a_turn_that_has_begun(self, stage: Stage) -> None:
        running, left, ended = (stage.reserved() for _ in range(3))
        stage.take(running)
        stage.take(left, OUT)
        stage.end(stage.take(ended))
        for message, seconds in ((running, OUT), (left, LIVE), (ended, OUT)):
            stage.reserve(message, seconds)
        assert stage.abandoned(OUT) == [left]

    def test_a_reservation_is_renewed_from_now_on(self, stage: Stage) -> None:
        renewed, forgotten = stage.reserved(seconds=_SHORT), stage.reserved(seconds=_SHORT)
        stage.renew(renewed)
        deadline = time.monotonic() + _PATIENCE
        while not stage.is_abandoned(forgotten):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert stage.abandoned(OUT) == [forgotten]
        stage.renew(renewed, seconds=OUT)
        assert stage.abandoned(OUT) == [renewed, forgotten]

    def test_what_has_begun_or_is_not_reserved_is_not_renewed(self, stage: Stage) -> None:
        record = stage.bench.record()
        running = stage.take(stage.reserved(record))
        behind, draft, ended = stage.parked(record), stage.message(), stage.end(stage.take(stage.message()))
        left, asking = stage.take(stage.reserved(), OUT), stage.ask(stage.take(stage.reserved()))
        released, run_out = stage.reserved(), stage.reserved(seconds=OUT)
        stage.release(released)
        every = (running, behind, draft, ended, left, asking, released, run_out)
        stage.renew(*every, seconds=LIVE)
        assert stage.abandoned(OUT) == [left, released, run_out]
        stage.renew(*every, seconds=OUT)
        assert stage.abandoned(OUT) == [left, released, run_out]
        assert stage.ahead_of(behind) == (running, True)

    def test_many_are_renewed_by_one_query(self, stage: Stage) -> None:
        jobs = [stage.job(stage.reserved()) for _ in range(_MANY)]
        one, many = (stage.counted(partial(stage.table.renew, some, LIVE)) for some in (jobs[:1], jobs))
        assert many == one
        assert stage.counted(partial(stage.table.release, jobs)) <= many * len(jobs)

    def test_nobody_can_be_renewed_and_released(self, stage: Stage) -> None:
        stage.bench.run(stage.table.renew([], LIVE))
        stage.bench.run(stage.table.release([]))

    def test_a_released_turn_is_found_at_once_and_stays_released(self, stage: Stage) -> None:
        messages = [stage.reserved() for _ in range(3)]
        stage.release(*messages[:2])
        stage.renew(*messages)
        assert stage.abandoned(OUT) == messages[:2]

    def test_what_somebody_runs_or_nobody_reserved_is_not_released(self, stage: Stage) -> None:
        record = stage.bench.record()
        running = stage.take(stage.reserved(record))
        behind, draft, ended = stage.parked(record), stage.message(), stage.end(stage.take(stage.message()))
        stage.release(running, behind, draft, ended)
        assert stage.abandoned(OUT) == []
        assert stage.ahead_of(behind) == (running, True)

    def test_a_turn_that_was_resumed_and_then_released_is_found(self, stage: Stage) -> None:
        asking = stage.ask(stage.take(stage.reserved()))
        assert stage.resume(asking) == asking
        assert stage.abandoned(OUT) == []
        stage.release(asking)
        assert stage.abandoned(OUT) == [asking]

    def test_what_counts_as_abandoned(self, stage: Stage) -> None:
        record = stage.bench.record()
        running = stage.take(stage.reserved(record))
        states: dict[str, Any] = {
            "draft": stage.message(),
            "reserved": stage.reserved(),
            "waited in vain": stage.reserved(seconds=OUT),
            "runs": running,
            "is parked behind it": stage.parked(record),
            "runner died": stage.take(stage.reserved(), OUT),
            "waits for a person": stage.ask(stage.take(stage.reserved())),
            "person did not answer": stage.ask(stage.take(stage.reserved()), OUT),
            "ended": stage.end(stage.take(stage.reserved())),
        }
        names = {message: name for name, message in states.items()}
        found = [names[message] for message in stage.abandoned(OUT)]
        assert found == ["waited in vain", "runner died", "person did not answer"]
        stage.end(running)
        found = [names[message] for message in stage.abandoned(OUT)]
        assert found[:3] == ["waited in vain", "runner died", "person did not answer"]
        assert found[3:] == ["is parked behind it"]

    def test_a_parked_turn_waits_for_one_that_has_begun_and_not_ended_whoever_ran_it(
        self, stage: Stage
    ) -> None:
        record = stage.bench.record()
        first = stage.take(stage.reserved(record))
        second = stage.parked(record)
        stage.take(first, OUT)
        assert stage.abandoned(OUT) == [first]
        stage.ask(stage.take(first))
        assert stage.abandoned(OUT) == []
        stage.end(stage.take(first))
        assert stage.abandoned(OUT) == [second]

    def test_a_parked_turn_whose_record_has_no_other_is_found(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second = stage.take(stage.reserved(record)), stage.parked(record)
        stage.bench.delete(first)
        assert stage.abandoned(LIVE) == [second]
        assert stage.abandoned(LIVE) == [], "it is reserved now, and not parked"

    def test_what_has_not_begun_is_reserved_by_who_finds_it_and_what_has_is_given_to_all(
        self, stage: Stage
    ) -> None:
        pending, begun = stage.reserved(seconds=OUT), stage.take(stage.reserved(), OUT)
        assert stage.abandoned(LIVE) == [pending, begun]
        assert stage.abandoned(LIVE) == [begun]
        stage.renew(pending, seconds=OUT)
        assert stage.abandoned(OUT) == [pending, begun], "who found it may renew it"
        assert stage.abandoned(OUT) == [pending, begun], "what was reserved for no time is found again"

    def test_the_oldest_are_found_first(self, stage: Stage) -> None:
        messages = [stage.message() for _ in range(5)]
        for message in (messages[3], messages[0], messages[4], messages[1], messages[2]):
            stage.reserve(message, OUT)
        assert stage.abandoned(OUT) == messages

    @pytest.mark.parametrize("off", [300.0, -300.0])
    def test_reservations_go_by_the_tables_clock_whatever_the_hosts_say(
        self, stage: Stage, off: float
    ) -> None:
        for first, second in ((off, 0.0), (0.0, off)):
            messages = [stage.message() for _ in range(3)]
            with stage.bench.clock_off(first):
                stage.reserve(messages[0], 60.0)
                stage.reserve(messages[1], OUT)
                stage.reserve(messages[2], 60.0)
                stage.renew(messages[2], seconds=OUT)
            with stage.bench.clock_off(second):
                assert stage.abandoned(60.0) == messages[1:], (
                    f"reserved at {first:+g} s, found at {second:+g} s"
                )
                stage.renew(*messages, seconds=60.0)
            with stage.bench.clock_off(first):
                assert stage.abandoned(60.0) == []
