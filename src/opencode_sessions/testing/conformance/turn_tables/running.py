"""How many turns run on each of several servers: what limits on turns at a time are counted by."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.testing.conformance.turn_tables.stage import OUT, Stage, Staged

__all__ = ["Running"]


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
