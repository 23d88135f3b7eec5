"""What callers can want of one row at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.records import RecordState, RecordStore
from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import DELETE, Call, Row, explained
from opencode_sessions.testing.conformance.rows import row_that_is
from opencode_sessions.testing.conformance.table import (
    Table,
    clear_deleted,
    confirm,
    mark_deleting,
    reserve,
    set_digest,
    supersede,
)

__all__ = ["CONTESTS", "VANISHING", "Contest", "Round"]


@dataclass(frozen=True)
class Contest:
    """So many callers at once, each with one call.

    Attributes:
        state: Of the row before.
        call: What the caller of that number calls.
        one_wins: Whether it is one of them that gets what all want.
    """

    state: str
    call: Callable[[Table, int], Call]
    one_wins: bool = False

    def on(self, bench: RecordBench, callers: int) -> Round:
        """With a row of its own, before its start."""
        record, table = row_that_is(bench, self.state)
        calls = [self.call(table, number) for number in range(callers)]
        return Round(self, table.rows[self.state], record, calls, bench.store(record))


@dataclass(frozen=True)
class Round:
    """A contest on one row.

    Attributes:
        contest: Which.
        before: What the row is.
        record: Its name, as the bench gave it.
        calls: What the callers call.
        witness: A store of one who takes no part.
    """

    contest: Contest
    before: RecordState
    record: Any
    calls: Sequence[Call]
    witness: RecordStore

    def check(self, bench: RecordBench, answers: Sequence[Any]) -> None:
        """Are the answers some that the callers could have had one after the other?"""
        end = bench.run(Call("load").on(self.witness))
        said = "\n".join(f"  {call} → {answer}" for call, answer in zip(self.calls, answers, strict=True))
        story = f"the row was {self.before}\n{said}\nand is {end}"
        if self.contest.one_wins:
            assert _one_won(answers, end), f"one had to win, and all to see it: {story}"
        assert explained(self.before, self.calls, answers, end), f"no order explains this: {story}"


def _one_won(answers: Sequence[Any], end: Row) -> bool:
    if isinstance(answers[0], RecordState):
        return set(answers) == {end}
    return answers.count(True) == 1


def _digest(number: int) -> str:
    return f"{number:064x}"


def _each(calls: Callable[[Table], Sequence[Call]]) -> Callable[[Table, int], Call]:
    """One of these, turn about."""

    def call(table: Table, number: int) -> Call:
        made = calls(table)
        return made[number % len(made)]

    return call


CONTESTS: Final[Mapping[str, Contest]] = {
    "reserve": Contest("new", lambda *_: reserve(None, new_session_id()), one_wins=True),
    "supersede": Contest("reserved", lambda t, _: supersede(t.a, new_session_id()), one_wins=True),
    "confirm, supersede": Contest("reserved", _each(lambda t: [confirm(t.a, t.digest), supersede(t.a, t.b)])),
    "replace": Contest("ready", lambda t, _: reserve(t.a, new_session_id()), one_wins=True),
    "confirm": Contest("reserved", lambda t, number: confirm(t.a, _digest(number)), one_wins=True),
    "set_digest": Contest(
        "ready", lambda t, number: set_digest(t.a, t.digest, _digest(number)), one_wins=True
    ),
    "clear_deleted": Contest("deleting", lambda t, _: clear_deleted(t.a), one_wins=True),
    "mark_deleting": Contest("ready", lambda t, _: mark_deleting(t.a)),
    "reserve, confirm, mark_deleting, clear": Contest(
        "new",
        _each(lambda t: [reserve(None, t.a), confirm(t.a, t.digest), mark_deleting(t.a), clear_deleted(t.a)]),
    ),
    "confirm, replace": Contest("reserved", _each(lambda t: [confirm(t.a, t.digest), reserve(t.a, t.b)])),
    "confirm, mark_deleting, clear_deleted, reserve": Contest(
        "reserved",
        _each(lambda t: [confirm(t.a, t.digest), mark_deleting(t.a), clear_deleted(t.a), reserve(None, t.b)]),
    ),
    "set_digest, mark_deleting, replace, read": Contest(
        "ready",
        _each(
            lambda t: [
                set_digest(t.a, t.digest, _digest(1)),
                mark_deleting(t.a),
                reserve(t.a, t.b),
                Call("read"),
            ]
        ),
    ),
    "clear_deleted, mark_deleting, replace, reserve": Contest(
        "deleting",
        _each(
            lambda t: [
                clear_deleted(t.a),
                mark_deleting(t.a),
                reserve(t.a, t.b),
                reserve(None, new_session_id()),
            ]
        ),
    ),
}
"""By what they want."""

VANISHING: Final[Mapping[str, Contest]] = {
    "reserve, read": Contest(
        "new", _each(lambda t: [DELETE, reserve(None, t.a), reserve(None, t.b), Call("read")])
    ),
    "confirm, set_digest, mark_deleting": Contest(
        "reserved",
        _each(
            lambda t: [
                confirm(t.a, t.digest),
                set_digest(t.a, t.digest, _digest(1)),
                DELETE,
                mark_deleting(t.a),
            ]
        ),
    ),
}
"""Contests in which the row is deleted."""
