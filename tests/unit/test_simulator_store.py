"""The simulator's stores, under a scheduler that does what it is told, are stores like any other."""

from __future__ import annotations

import pytest
from simulator.calls import Port, StorePort, answer, drive

from opencode_sessions.store.memory import MemoryMessage, MemoryMessageStore, MemoryRecord, MemoryRecordStore
from opencode_sessions.testing.conformance import MessageStoreConformance, RecordBench, RecordStoreConformance


class SimulatedRows(RecordBench):
    """Rows in memory, behind ports that suspend."""

    def record(self):
        return MemoryRecord()

    def store(self, record):
        store = MemoryRecordStore(record)
        return StorePort(store, name=store)

    def delete(self, record):
        record.deleted = True

    def run(self, coroutine):
        return drive(coroutine, lambda call: answer(call.port, call))

    def at_once(self, calls):
        """A call is one step, so one after the other is all that can be; the last comes first."""
        return [self.run(call()) for call in reversed(calls)][::-1]


class TestTheSimulatedStore(RecordStoreConformance):
    @pytest.fixture
    def bench(self):
        return SimulatedRows()


class SimulatedMessages(SimulatedRows):
    """Likewise, of messages."""

    def message(self, prompt):
        return MemoryMessage(prompt)

    def store(self, message):
        store = MemoryMessageStore(message)
        return Port(store, name=store)


class TestTheSimulatedMessages(MessageStoreConformance):
    @pytest.fixture
    def bench(self):
        return SimulatedMessages()
