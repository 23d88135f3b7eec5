"""The whole suite for record stores, under one name."""

from __future__ import annotations

from opencode_sessions.testing.conformance.claiming import Claims
from opencode_sessions.testing.conformance.contention import Contention
from opencode_sessions.testing.conformance.faults import Faults
from opencode_sessions.testing.conformance.records import Transitions
from opencode_sessions.testing.conformance.servers import OnServers

__all__ = ["RecordStoreConformance"]


class RecordStoreConformance(Transitions, Contention, Claims, Faults, OnServers):
    """Inherit from it as `TestMyStore`, and give it a fixture `bench` that returns a `RecordBench`.

    Every test makes rows of its own, with session ids of their own, and leaves them: many can share a database.
    """
