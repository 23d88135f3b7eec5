"""Turns that wait for another one of their record, or for a person, without a runner; and what has them run."""

from __future__ import annotations

from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Parking"]


class Parking(Staged):
    """`park`, `resume` and `resume_next`."""

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
