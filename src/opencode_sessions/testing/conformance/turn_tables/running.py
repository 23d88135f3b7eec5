"""How many turns run on each of several servers: what limits on turns at a time are counted by."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.turn_table import Usage
from opencode_sessions.testing.conformance.turn_tables.stage import LIVE, OUT, Stage, Staged

__all__ = ["Running", "Used"]


class Running(Staged):
    """`running`."""

    def test_turns_that_are_run_now_are_counted_by_the_server_of_their_record(self, stage: Stage) -> None:
        one, two = _name(), _name()
        first, second, third = (_placed(stage, name) for name in (one, one, two))
        for record in (first, second, third):
            stage.take(stage.reserved(record))
        assert _counts(stage, one, two) == (2, 1)

    def test_turns_that_nobody_runs_are_not_counted(self, stage: Stage) -> None:
        name = _name()
        stage.reserved(_placed(stage, name))
        stage.message(_placed(stage, name))
        stage.take(stage.reserved(_placed(stage, name)), OUT)
        stage.ask(stage.take(stage.reserved(_placed(stage, name))))
        stage.end(stage.take(stage.reserved(_placed(stage, name))))
        assert _counts(stage, name) == (0,)

    def test_turns_of_a_record_without_a_session_are_on_no_server(self, stage: Stage) -> None:
        before = stage.bench.run(stage.table.running()).get(None, 0)
        stage.take(stage.reserved(stage.bench.record()))
        assert stage.bench.run(stage.table.running()).get(None, 0) == before


class Used(Staged):
    """`usage`: what limits for users and tenants are counted by."""

    def test_what_turns_have_used_is_summed_for_those_that_the_condition_names(self, stage: Stage) -> None:
        record, other = stage.bench.record(), stage.bench.record()
        first, second = stage.queue(2, record)
        stage.take(stage.reserved(other))
        _spend(stage, stage.take(first), cost=0.5, tokens=(3, 4))
        stage.end(first)
        _spend(stage, stage.take(second), cost=0.25, tokens=(1, 2))
        assert _usage(stage, first) == Usage(1, 0.75, 10)

    def test_cost_counts_from_a_moment_on_and_what_runs_always_does(self, stage: Stage) -> None:
        message = stage.take(stage.reserved())
        _spend(stage, message, cost=0.5, tokens=(3, 4))
        assert _usage(stage, message, since=_later(-1)) == Usage(1, 0.5, 7)
        assert _usage(stage, message, since=_later(1)) == Usage(1, 0.0, 0)

    def test_turns_that_have_used_nothing_sum_up_to_nothing(self, stage: Stage) -> None:
        message = stage.message()
        assert _usage(stage, message) == Usage(0, 0.0, 0)


def _usage(stage: Stage, message: Any, since: datetime | None = None) -> Usage:
    """Of the turns of a message's record."""
    instance = stage.bench.copy(message)
    of = stage.bench.same_record(instance)
    used: Usage = stage.bench.run(stage.table.usage(instance, of, since))
    return used


def _spend(stage: Stage, message: Any, *, cost: float, tokens: tuple[int, int]) -> None:
    store = stage.store(message)
    row = stage.bench.run(store.load())
    spent = replace(
        row, cost=cost, input_tokens=tokens[0], output_tokens=tokens[1], revision=row.revision + 1
    )
    assert stage.bench.run(store.snapshot(row.epoch, spent, LIVE))


def _later(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def _name() -> str:
    """A server that no other test has."""
    return uuid4().hex


def _placed(stage: Stage, server: str) -> Any:
    """A new record whose session is on that server."""
    record = stage.bench.record()
    stage.bench.run(stage.bench.store(record).reserve(None, new_session_id(), server=server))
    return record


def _counts(stage: Stage, *servers: str) -> tuple[int, ...]:
    running = stage.bench.run(stage.table.running())
    return tuple(running.get(server, 0) for server in servers)
