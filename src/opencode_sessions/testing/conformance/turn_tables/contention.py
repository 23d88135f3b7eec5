"""What happens when many look, enqueue, park or resume at once: threads or tasks, processes, isolation levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

import pytest

from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import TurnJob
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import Call
from opencode_sessions.testing.conformance.processes import InProcesses, Processes
from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Contention"]

_CALLERS: Final = 8
_CALLERS_UNDER_A_LEVEL: Final = 4
_PENDING: Final = 10
_ROUNDS: Final = 10


class Contention(InProcesses, Staged):
    """Each turn is run by one of those who come at once, and none is forgotten."""

    def test_of_many_who_look_at_once_one_reserves_each_turn(self, stage: Stage) -> None:
        _look(stage, stage.bench, _CALLERS)

    def test_of_many_processes_that_look_at_once_one_reserves_each_turn(
        self, stage: Stage, processes: Processes
    ) -> None:
        recipe = stage.bench.recipe()
        pending, begun = _left_behind(stage)
        as_store = cast("Callable[[], RecordBench]", partial(_TableAsStore, recipe))
        (answers,) = processes.race(as_store, [(None, [_LOOK] * processes.count)])
        _each_once(stage, pending, begun, answers)

    @pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
    def test_an_isolation_level_changes_nothing(self, stage: Stage, level: str) -> None:
        with stage.bench.under(level) as strict:
            _look(stage, strict, _CALLERS_UNDER_A_LEVEL)

    def test_who_is_enqueued_at_once_has_a_place_before_or_after_each_other(self, stage: Stage) -> None:
        record, bench, table = stage.bench.record(), stage.bench, stage.table

        async def enqueue() -> Any:
            host = bench.begin()
            message = await host.add(record)
            await table.reserve(message, LIVE)
            name = bench.name_of(message)
            await host.commit()
            return name

        messages = [stage.note(each) for each in bench.at_once([enqueue] * _CALLERS)]
        ahead = [stage.ahead_of(message) for message in messages]
        assert ahead.count(None) == 1
        assert len(set(ahead) - {None}) == 1, "one is the first of them in the eyes of all others"

    def test_of_many_who_resume_the_next_turn_at_once_each_gets_another_one(self, stage: Stage) -> None:
        record = stage.bench.record()
        first = stage.take(stage.reserved(record))
        parked = [stage.parked(record) for _ in range(3)]
        stage.end(first)
        copies = [stage.bench.copy(first) for _ in range(_CALLERS)]
        calls = [partial(stage.table.resume_next, copy, LIVE) for copy in copies]
        resumed = [stage.named(job) for job in stage.bench.at_once(calls) if job is not None]
        assert set(resumed) <= set(parked)
        assert len(resumed) == len(set(resumed)) >= 1

    def test_a_turn_that_is_parked_as_the_one_before_it_ends_is_run_by_one_of_the_two(
        self, stage: Stage
    ) -> None:
        bench, table = stage.bench, stage.table
        for _ in range(_ROUNDS):
            record = bench.record()
            first, second = stage.queue(2, record)
            stage.take(first)
            store = stage.store(first)
            row = bench.run(store.load())
            ended, copy = replace(row, status=TurnStatus.COMPLETED), bench.copy(first)
            job, found = stage.job(second), stage.found(second)

            async def end(store: Any = store, ended: Any = ended, copy: Any = copy) -> Any:
                assert await store.finish(ended.epoch, ended)
                return await table.resume_next(copy, LIVE)

            async def put_behind(job: TurnJob = job, found: Any = found) -> Any:
                return await table.put_behind(job, found, LIVE)

            calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [end, put_behind]
            resumed, parked = bench.at_once(calls)
            assert stage.named(resumed) in (None, second)
            assert (resumed is None) == (parked is False), "the one has it run, or the other tries again"
            assert stage.abandoned(OUT) == [], "it is reserved, and waits for nothing"


def _left_behind(stage: Stage) -> tuple[list[Any], list[Any]]:
    """Turns that have not begun, of which some are parked; and turns that have."""
    pending = [stage.reserved(seconds=OUT) for _ in range(_PENDING)]
    for _ in range(2):
        record = stage.bench.record()
        blocker = stage.take(stage.reserved(record))
        pending.append(stage.parked(record))
        stage.end(blocker)
    return pending, [stage.take(stage.reserved(), OUT) for _ in range(2)]


def _look(stage: Stage, bench: RecordBench, callers: int) -> None:
    pending, begun = _left_behind(stage)
    tables = [bench.table() for _ in range(callers)]
    answers = bench.at_once([partial(table.abandoned, reserve_for=LIVE) for table in tables])
    _each_once(stage, pending, begun, answers)


def _each_once(
    stage: Stage, pending: list[Any], begun: list[Any], answers: Sequence[Sequence[TurnJob]]
) -> None:
    found = [stage.among(jobs) for jobs in answers]
    times = Counter(message for messages in found for message in messages)
    assert {message: times[message] for message in pending} == dict.fromkeys(pending, 1)
    for messages in found:
        assert set(begun) <= set(messages), "what had begun is given to all"


@dataclass(frozen=True)
class _Look(Call):
    """`abandoned`, in another process."""

    async def on(self, store: Any) -> Any:
        """The jobs that are found."""
        return list(await store.abandoned(reserve_for=LIVE))


_LOOK: Final = _Look("abandoned")


class _TableAsStore:
    """A bench whose table is called where another's store is."""

    def __init__(self, recipe: Callable[[], RecordBench]) -> None:
        self._bench = recipe()
        self.run, self.close = self._bench.run, self._bench.close

    def store(self, _: Any) -> Any:
        return self._bench.table()
