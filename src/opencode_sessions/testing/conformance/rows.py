"""Rows in the states of the table."""

from __future__ import annotations

from typing import Any

from opencode_sessions.testing.conformance.bench import RecordBench
from opencode_sessions.testing.conformance.calls import Call, Row
from opencode_sessions.testing.conformance.table import Table

__all__ = ["found", "row_that_is"]


def row_that_is(bench: RecordBench, state: str) -> tuple[Any, Table]:
    """A row that was brought into that state by the table's way, and its table."""
    record, table = bench.record(), Table()
    for call in table.ways[state]:
        bench.run(call.on(bench.store(record)))
    assert found(bench, record) == table.rows[state], (
        f"a new row after {', '.join(map(str, table.ways[state]))}"
    )
    return record, table


def found(bench: RecordBench, record: Any) -> Row:
    """What a caller finds who has not been there before; `GONE` if the row vanished."""
    answer: Row = bench.run(Call("load").on(bench.store(record)))
    return answer
