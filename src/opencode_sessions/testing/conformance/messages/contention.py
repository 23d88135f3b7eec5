"""What happens when many callers come at once: threads or tasks, processes, and under every isolation level."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest

from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.messages.contests import CONTESTS, VANISHING, Contest
from opencode_sessions.testing.conformance.processes import InProcesses, Processes

__all__ = ["Contention"]

_CALLERS: Final = 8
_CALLERS_UNDER_A_LEVEL: Final = 4
_UNDER_A_LEVEL: Final = (
    "take",
    "finish, cancel",
    "snapshot, extend, take over, cancel",
    "cancel, update_after_cancel, finish, load",
)


class Contention(InProcesses):
    """Calls that are made at once have answers that they could have had one after the other."""

    @pytest.mark.parametrize("contest", CONTESTS)
    def test_callers_who_come_at_once_get_what_they_could_in_turn(
        self, bench: RecordBench, contest: str
    ) -> None:
        _run(CONTESTS[contest], bench, _CALLERS)

    def test_processes_that_come_at_once_get_what_they_could_in_turn(
        self, bench: RecordBench, processes: Processes
    ) -> None:
        recipe = bench.recipe()
        rounds = [contest.on(bench, processes.count) for contest in (*CONTESTS.values(), *VANISHING.values())]
        answers = processes.race(recipe, [(each.message, each.calls) for each in rounds])
        for each, given in zip(rounds, answers, strict=True):
            each.check(bench, given)

    @pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
    def test_an_isolation_level_changes_nothing(self, bench: RecordBench, level: str) -> None:
        with bench.under(level) as strict:
            for contest in _UNDER_A_LEVEL:
                _run(CONTESTS[contest], strict, _CALLERS_UNDER_A_LEVEL)


def _run(contest: Contest, bench: RecordBench, callers: int) -> None:
    """As the bench's API does."""
    each = contest.on(bench, callers)
    stores = [bench.store(each.message) for _ in each.calls]
    answers = bench.at_once([partial(call.on, store) for call, store in zip(each.calls, stores, strict=True)])
    each.check(bench, answers)
