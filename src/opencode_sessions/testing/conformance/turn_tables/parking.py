"""Turns that wait for another one of their record, or for a person, without a runner; and what has them run."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.turn_table import Place
from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Parking"]


class Parking(Staged):
    """`park`, `resume`, `resume_next`, `wait_for_place` and `resume_waiting`."""

    def test_a_turn_is_parked_behind_one_that_runs_and_is_nobodys_meanwhile(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second = stage.queue(2, record)
        stage.take(first)
        assert stage.put_behind(second)
        stage.renew(second, seconds=OUT)
        stage.release(second)
        assert stage.abandoned(OUT) == []
        assert stage.put_behind(second), "it is parked, and stays so"

    def test_a_turn_is_parked_while_another_one_has_its_record(self, stage: Stage) -> None:
        record = stage.bench.record()
        message, session = stage.reserved(record), stage.bench.store(record)
        assert stage.bench.run(session.claim("messages:another", LIVE)) is None
        assert stage.put_behind(message)
        stage.bench.run(session.unclaim("messages:another"))
        assert stage.bench.run(session.claim(stage.store(message).key, LIVE)) is None
        assert not stage.put_behind(message), "it has its record itself"
        assert stage.bench.run(session.hold(stage.store(message).key, OUT))
        assert stage.bench.run(session.claim("messages:another", OUT)) is None
        assert not stage.put_behind(message), "the other one's time has run out"

    def test_a_turn_that_nothing_is_in_the_way_of_is_reserved_and_not_parked(self, stage: Stage) -> None:
        alone, record = stage.reserved(), stage.bench.record()
        first, second = stage.queue(2, record)
        assert not stage.put_behind(alone)
        assert not stage.put_behind(second), "the one before it does not run, and would not have it run"
        assert stage.abandoned(OUT) == []
        stage.take(first, OUT)
        assert not stage.put_behind(second, OUT), "nobody runs the one before it any more"
        assert stage.abandoned(OUT) == [first, second]
        assert not stage.put_behind(alone, OUT)
        assert stage.abandoned(OUT) == [alone, first, second]

    def test_a_turn_that_was_never_reserved_is_not_parked(self, stage: Stage) -> None:
        record = stage.bench.record()
        running, draft = stage.take(stage.reserved(record)), stage.message(record)
        assert not stage.put_behind(draft, OUT)
        stage.end(running)
        assert stage.abandoned(OUT) == [], "it is a draft still"

    def test_a_turn_that_has_begun_is_not_parked_behind_another(self, stage: Stage) -> None:
        record = stage.bench.record()
        other, message = stage.queue(2, record)
        job, found = stage.job(message), stage.found(message)
        stage.take(message)
        assert not stage.bench.run(stage.table.put_behind(job, found, OUT))
        assert stage.abandoned(OUT) == []
        assert stage.ahead_of(other) == (message, True)

    def test_a_turn_that_waits_for_a_person_is_resumed(self, stage: Stage) -> None:
        message = stage.ask(stage.take(stage.reserved()))
        assert stage.resume(message) == message
        assert stage.abandoned(OUT) == []
        stage.ask(stage.take(message))
        assert stage.resume(message, OUT) == message
        assert stage.abandoned(OUT) == [message], "that was the time for which it was reserved"

    def test_a_turn_that_waits_for_no_person_is_not_resumed(self, stage: Stage) -> None:
        record = stage.bench.record()
        running = stage.take(stage.reserved(record))
        others = [
            running,
            stage.parked(record),
            stage.message(),
            stage.reserved(),
            stage.end(stage.ask(stage.take(stage.reserved()))),
            stage.take(stage.ask(stage.take(stage.reserved()))),
        ]
        for message in others:
            assert stage.resume(message, OUT) is None
        assert stage.abandoned(OUT) == []

    def test_the_next_turn_of_the_record_is_resumed_when_the_one_that_ran_has_ended(
        self, stage: Stage
    ) -> None:
        record = stage.bench.record()
        first = stage.take(stage.reserved(record))
        fourth, second, third = stage.messages(3, record)
        for message in (second, third, fourth):
            stage.reserve(message)
            assert stage.put_behind(message)
        order = []
        for _ in range(3):
            stage.end(first)
            first = stage.resume_next(first)
            order.append(stage.take(first))
        assert order == [second, third, fourth]
        stage.end(first)
        assert stage.resume_next(first) is None

    def test_no_turn_is_resumed_while_another_one_of_its_record_has_begun(self, stage: Stage) -> None:
        record = stage.bench.record()
        first = stage.take(stage.reserved(record))
        second = stage.parked(record)
        for change in (lambda: None, lambda: stage.take(first, OUT), lambda: stage.ask(stage.take(first))):
            change()
            assert stage.resume_next(first) is None
        stage.end(stage.take(first))
        assert stage.resume_next(first) == second
        assert stage.resume_next(first) is None
        assert stage.abandoned(OUT) == [], "it is reserved"
        assert stage.take(second)
        stage.take(third := stage.reserved(other := stage.bench.record()))
        fourth = stage.parked(other)
        stage.end(third)
        assert stage.resume_next(third, OUT) == fourth
        assert stage.abandoned(OUT) == [fourth], "that was the time for which it was reserved"

    def test_only_what_is_parked_in_the_same_record_is_resumed(self, stage: Stage) -> None:
        record, other = stage.bench.record(), stage.bench.record()
        ended = stage.end(stage.take(stage.reserved(record)))
        stage.message(record)
        stage.reserved(record)
        blocker = stage.take(stage.reserved(other))
        stage.parked(other)
        stage.end(blocker)
        assert stage.resume_next(ended) is None

    def test_a_turn_that_waits_for_a_place_is_nobodys_until_it_is_resumed(self, stage: Stage) -> None:
        message = stage.reserved()
        place = _place_of(stage, message)
        assert stage.resume_waiting(place) is None, "it does not wait yet"
        assert not stage.wait_for_place(message), "it waits from now on: whoever parked it looks once more"
        assert stage.wait_for_place(message)
        assert stage.abandoned(OUT) == []
        assert stage.resume_waiting(place, OUT) == message
        assert stage.abandoned() == [message], "that was the time for which it was reserved"
        assert stage.resume_waiting(place) is None

    def test_a_turn_that_waits_for_a_place_is_abandoned_after_its_time(self, stage: Stage) -> None:
        message = stage.reserved()
        assert not stage.wait_for_place(message, OUT)
        assert stage.abandoned() == [message]
        assert stage.resume_waiting(_place_of(stage, message)) is None, "it is reserved, and waits no more"
        assert not stage.wait_for_place(message, OUT)
        stage.reserve(message)
        assert not stage.wait_for_place(message), "it was enqueued again"

    def test_a_turn_whose_time_to_wait_is_over_waits_anew(self, stage: Stage) -> None:
        message = stage.reserved()
        assert not stage.wait_for_place(message, OUT)
        assert not stage.wait_for_place(message), "its time was over, so it waits from now on"
        assert stage.wait_for_place(message)
        assert stage.abandoned() == []

    def test_only_a_turn_that_has_not_begun_waits_for_a_place(self, stage: Stage) -> None:
        record = stage.bench.record()
        message = stage.take(stage.reserved(record))
        assert stage.wait_for_place(message, OUT)
        assert stage.abandoned(OUT) == []
        stage.end(message)
        assert stage.wait_for_place(message)
        assert stage.resume_waiting(_place_of(stage, message)) is None

    def test_the_first_turn_that_waits_for_the_place_is_resumed_first(self, stage: Stage) -> None:
        record, other = stage.bench.record(), stage.bench.record()
        strange, first, second = stage.reserved(other), stage.reserved(record), stage.reserved(record)
        for message in (second, strange, first):
            stage.wait_for_place(message)
        place = _place_of(stage, first)
        assert [stage.resume_waiting(place) for _ in range(3)] == [first, second, None]

    def test_a_place_goes_to_the_first_waiting_turn_that_may_begin(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second, third = (stage.reserved(record) for _ in range(3))
        for message in (first, second, third):
            stage.wait_for_place(message)
        asked = []

        async def may_begin(message: Any) -> bool:
            asked.append(stage.named(stage.table.job_of(message)))
            return bool(asked[-1] != first)

        place = _place_of(stage, first)
        assert stage.resume_waiting(place, may_begin=may_begin) == second
        assert asked == [first, second]
        assert stage.wait_for_place(first), "it still waits"
        assert stage.resume_waiting(place) == first

    def test_a_place_on_a_server_goes_to_a_turn_whose_record_is_there(self, stage: Stage) -> None:
        name = uuid4().hex
        elsewhere, there, nowhere = (
            stage.reserved(_placed(stage, server)) for server in (uuid4().hex, name, None)
        )
        for message in (elsewhere, there, nowhere):
            stage.wait_for_place(message)
        assert stage.resume_waiting(Place(server=name)) == there
        assert stage.resume_waiting(Place(server=name)) is None
        assert stage.resume_waiting(Place(server=name, unnamed=True)) == nowhere

    def test_a_turn_behind_one_that_waits_for_a_place_is_parked_until_that_has_ended(
        self, stage: Stage
    ) -> None:
        record = stage.bench.record()
        first, second = stage.queue(2, record)
        stage.wait_for_place(first)
        assert stage.ahead_of(second) == (first, True)
        assert stage.put_behind(second)
        assert stage.resume_next(first) is None
        assert stage.abandoned(OUT) == []
        assert stage.resume_waiting(_place_of(stage, first)) == first
        stage.end(stage.take(first))
        assert stage.resume_next(first) == second

    def test_a_turn_that_is_parked_behind_another_waits_for_no_place(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second = stage.queue(2, record)
        stage.wait_for_place(second)
        stage.take(first)
        assert stage.put_behind(second)
        assert stage.resume_waiting(_place_of(stage, second)) is None


def _place_of(stage: Stage, message: Any) -> Place:
    """One of the turns of a message's record."""
    return Place(of=stage.bench.same_record(stage.bench.copy(message)))


def _placed(stage: Stage, server: str | None) -> Any:
    """A new record whose session is on that server."""
    record = stage.bench.record()
    stage.bench.run(stage.bench.store(record).reserve(None, new_session_id(), server=server))
    return record
