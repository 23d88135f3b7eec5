"""The port as a table: which call on which row changes it, and into what. What is not in it is refused.

A row is new, reserved, ready or deleting, or it has vanished. A call that is refused leaves the row as it is, and
says so: `reserve` and `supersede` return the row, the others return False. On a row that has vanished `load`,
`read`, `reserve` and `supersede` raise `RecordGoneError`, and the others return False.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opencode_sessions.protocol.ids import new_session_id
from opencode_sessions.store.records import RecordState
from opencode_sessions.testing.conformance.calls import GONE, Call, Row, in_memory

__all__ = ["STATES", "Table", "tour"]

STATES: Final = ("new", "reserved", "ready", "deleting")

# As long as a digest may be.
_OLD, _NEW = "5e" * 32, "a1" * 32


class Table:
    """The table for one row, with two session ids that no other row has.

    Attributes:
        a: The session that the row has or gets.
        b: The one that replaces it.
        digest: Of a row that is ready.
        rows: By the name of the state, what `load` returns.
        ways: How a new row gets there.
        transitions: By the name of the state, the calls that change it (or are welcome), and the row after.
        calls: Every method, with what fits some row and with what does not.
    """

    def __init__(self) -> None:
        a, b = self.a, self.b = new_session_id(), new_session_id()
        self.digest = _OLD
        new, reserved, deleting = RecordState(), RecordState(a), RecordState(a, deleting=True)
        ready, renewed = (RecordState(a, ready=True, digest=digest) for digest in (_OLD, _NEW))
        replaced = RecordState(b)
        self.rows: Mapping[str, RecordState] = dict(
            zip(STATES, (new, reserved, ready, deleting), strict=True)
        )
        self.ways: Mapping[str, tuple[Call, ...]] = {
            "new": (),
            "reserved": (reserve(None, a),),
            "ready": (reserve(None, a), confirm(a, _OLD)),
            "deleting": (reserve(None, a), confirm(a, _OLD), mark_deleting(a)),
        }
        self.transitions: Mapping[str, Mapping[Call, RecordState]] = {
            "new": {
                reserve(None, a): reserved,
                reserve(None, b): replaced,
            },
            "reserved": {
                reserve(a, b): replaced,
                supersede(a, b): replaced,
                confirm(a, _OLD): ready,
                confirm(a, _NEW): renewed,
                mark_deleting(a): deleting,
            },
            "ready": {
                reserve(a, b): replaced,
                set_digest(a, _OLD, _NEW): renewed,
                mark_deleting(a): deleting,
            },
            "deleting": {
                reserve(a, b): replaced,
                mark_deleting(a): deleting,
                clear_deleted(a): new,
            },
        }
        self.calls = (
            Call("load"),
            Call("read"),
            *(reserve(before, after) for before, after in ((None, a), (None, b), (a, b), (b, a))),
            *(supersede(before, after) for before, after in ((a, b), (b, a))),
            *(confirm(session_id, digest) for session_id in (a, b) for digest in (_OLD, _NEW)),
            *(set_digest(session_id, _OLD, _NEW) for session_id in (a, b)),
            *(set_digest(session_id, _NEW, _OLD) for session_id in (a, b)),
            set_digest(a, None, _NEW),
            *(mark_deleting(session_id) for session_id in (a, b)),
            *(clear_deleted(session_id) for session_id in (a, b)),
        )

    def answer(self, state: str, call: Call) -> tuple[Any, Row]:
        """What the table says: the answer, and the row afterwards."""
        row = self.rows[state]
        after = self.transitions[state].get(call)
        match call.method:
            case "load":
                return row, row
            case "read":
                return (row, "made of the record"), row
            case "reserve" | "supersede":
                return after or row, after or row
            case _:
                return after is not None, after or row

    def answer_of_none(self, call: Call) -> Any:
        """What the table says of a row that has vanished."""
        return GONE if call.method in ("load", "read", "reserve", "supersede") else False


def reserve(before: str | None, session_id: str) -> Call:
    """`RecordStore.reserve`."""
    return Call("reserve", (before, session_id))


def supersede(before: str, session_id: str) -> Call:
    """`RecordStore.supersede`."""
    return Call("supersede", (before, session_id))


def confirm(session_id: str, digest: str) -> Call:
    """`RecordStore.confirm`."""
    return Call("confirm", (session_id, digest))


def set_digest(session_id: str, before: str | None, digest: str) -> Call:
    """`RecordStore.set_digest`."""
    return Call("set_digest", (session_id, before, digest))


def mark_deleting(session_id: str) -> Call:
    """`RecordStore.mark_deleting`."""
    return Call("mark_deleting", (session_id,))


def clear_deleted(session_id: str) -> Call:
    """`RecordStore.clear_deleted`."""
    return Call("clear_deleted", (session_id,))


def tour(calls: tuple[Call, ...]) -> Iterator[Call]:
    """A walk of one row, from new on, that makes every call in every state that the calls lead to."""
    row: Row = RecordState()
    made: set[tuple[Row, Call]] = set()
    while way := _to_the_next(row, calls, made):
        for call in way:
            made.add((row, call))
            _, row = in_memory(call, row)
            yield call


def _to_the_next(row: Row, calls: tuple[Call, ...], made: set[tuple[Row, Call]]) -> tuple[Call, ...]:
    """The shortest way to a call that was not made yet, with that call; empty if all were."""
    ways: deque[tuple[Row, tuple[Call, ...]]] = deque([(row, ())])
    known = {row}
    while ways:
        here, way = ways.popleft()
        for call in calls:
            if (here, call) not in made:
                return (*way, call)
            _, there = in_memory(call, here)
            if there not in known:
                known.add(there)
                ways.append((there, (*way, call)))
    return ()
