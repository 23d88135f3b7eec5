"""The whole suite for tables of turns, under one name."""

from __future__ import annotations

from opencode_sessions.testing.conformance.turn_tables.committing import Commits
from opencode_sessions.testing.conformance.turn_tables.contention import Contention
from opencode_sessions.testing.conformance.turn_tables.order import Order
from opencode_sessions.testing.conformance.turn_tables.parking import Parking
from opencode_sessions.testing.conformance.turn_tables.reservations import Reservations
from opencode_sessions.testing.conformance.turn_tables.rows import Rows
from opencode_sessions.testing.conformance.turn_tables.running import Running, Used
from opencode_sessions.testing.conformance.turn_tables.walk import Walks

__all__ = ["TurnTableConformance"]


class TurnTableConformance(Rows, Reservations, Commits, Order, Parking, Contention, Walks, Running, Used):
    """Inherit from it as `TestMyTurns`, and give it a fixture `bench` that returns a `RecordBench`.

    Every test makes rows of its own, and deletes its messages: many can share a database, one after the other.
    """
