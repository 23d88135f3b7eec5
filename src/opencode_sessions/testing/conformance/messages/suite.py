"""The whole suite for message stores, under one name."""

from __future__ import annotations

from opencode_sessions.testing.conformance.messages.contention import Contention
from opencode_sessions.testing.conformance.messages.faults import Faults
from opencode_sessions.testing.conformance.messages.transitions import Transitions

__all__ = ["MessageStoreConformance"]


class MessageStoreConformance(Transitions, Contention, Faults):
    """Inherit from it as `TestMyMessages`, and give it a fixture `bench` that returns a `RecordBench`.

    Every test makes rows of its own, with ids of their own, and leaves them: many can share a database.
    """
