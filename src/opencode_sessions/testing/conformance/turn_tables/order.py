"""In which order the turns of one record are run."""

from __future__ import annotations

from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Order"]


class Order(Staged):
    """The place that `reserve` gives, and `ahead_of`."""

    def test_turns_of_a_record_come_in_the_order_in_which_they_were_reserved(self, stage: Stage) -> None:
        record = stage.bench.record()
        third, first, second = stage.messages(3, record)
        for message in (first, second, third):
            stage.reserve(message)
        order = []
        for _ in range(3):
            ahead = stage.ahead_of(third)
            order.append(third if ahead is None else ahead[0])
            stage.end(stage.take(order[-1]))
        assert order == [first, second, third]

    def test_who_is_reserved_again_keeps_the_place(self, stage: Stage) -> None:
        first, second, third = stage.queue(3, stage.bench.record())
        for message in (first, second, first):
            stage.reserve(message)
        assert stage.ahead_of(first) is None
        assert stage.ahead_of(second) == stage.ahead_of(third) == (first, False)

    def test_turns_of_other_records_are_not_waited_for(self, stage: Stage) -> None:
        stage.take(stage.reserved())
        stage.reserved()
        assert stage.ahead_of(stage.reserved()) is None

    def test_nothing_is_ahead_that_nobody_reserved_or_that_has_ended(self, stage: Stage) -> None:
        record = stage.bench.record()
        stage.message(record)
        stage.end(stage.take(stage.reserved(record)))
        assert stage.ahead_of(stage.reserved(record)) is None

    def test_what_was_reserved_before_is_ahead_whatever_became_of_that(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second = stage.queue(2, record)
        later = stage.reserved(record)
        assert stage.ahead_of(second) == (first, False)
        stage.release(first)
        assert stage.ahead_of(second) == (first, False)
        stage.reserve(first, OUT)
        assert stage.ahead_of(second) == (first, False)
        stage.take(later)
        assert stage.put_behind(first)
        stage.end(later)
        assert stage.ahead_of(second) == (first, False), "parked, and before it all the same"
        assert stage.ahead_of(first) is None

    def test_what_has_begun_is_ahead_of_all_others(self, stage: Stage) -> None:
        record = stage.bench.record()
        first, second, third = stage.queue(3, record)
        stage.take(third)
        assert stage.ahead_of(first) == stage.ahead_of(second) == (third, True)
        stage.take(third, OUT)
        assert stage.ahead_of(first) == (third, False), "nobody runs it any more"
        stage.ask(stage.take(third))
        assert stage.ahead_of(first) == (third, True), "it waits for a person, whose answer has it run"
        stage.end(stage.take(third))
        assert stage.ahead_of(first) is None
        assert stage.ahead_of(second) == (first, False)

    def test_nothing_is_ahead_of_a_turn_that_has_begun_since_it_was_found(self, stage: Stage) -> None:
        record = stage.bench.record()
        stage.reserved(record)
        message = stage.reserved(record)
        job, found = stage.job(message), stage.found(message)
        stage.take(message)
        assert stage.bench.run(stage.table.ahead_of(job, found)) is None

    def test_of_the_same_place_the_lesser_key_comes_first(self, stage: Stage) -> None:
        first, second, third = stage.queue(3, stage.bench.record())
        for message in (first, second, third):
            stage.bench.write(message, opencode_turn_order=1)
        assert stage.ahead_of(first) is None
        assert stage.ahead_of(second) == stage.ahead_of(third) == (first, False)
        stage.end(stage.take(first))
        assert stage.ahead_of(third) == (second, False)

    def test_what_is_ahead_is_one_query(self, stage: Stage) -> None:
        _, message, _ = stage.queue(3, stage.bench.record())
        job, found = stage.job(message), stage.found(message)
        assert stage.counted(lambda: stage.table.ahead_of(job, found)) == 1

    def test_a_new_turn_comes_after_all_that_have_a_place_also_those_that_have_ended(
        self, stage: Stage
    ) -> None:
        record = stage.bench.record()
        first, second = stage.queue(2, record)
        stage.end(stage.take(second, LIVE))
        third = stage.reserved(record)
        assert stage.ahead_of(third) == (first, False)
        stage.bench.delete(first)
        assert stage.ahead_of(third) is None
