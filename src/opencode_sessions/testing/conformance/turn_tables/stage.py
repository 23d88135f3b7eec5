"""Messages in every state that a table of turns tells apart, and its calls on them by the names of a bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from opencode_sessions.store.messages import MessageStore, TurnStatus
from opencode_sessions.store.turn_table import Ahead, MayBegin, Place, TurnJob, always
from opencode_sessions.testing.conformance.bench import RecordBench

__all__ = ["LIVE", "OUT", "Stage", "Staged"]

LIVE: Final = 3600.0
"""Seconds for which something is reserved, or run: longer than any test."""

OUT: Final = -1.0
"""Seconds after which a reservation, or a lease, has run out already."""

_ASK: Final = {"id": "per_1", "kind": "permission", "session_id": "ses_1"}


class Stage:
    """The messages of one test.

    Attributes:
        bench: Where they are.
        table: The table under test.
        rows: The same, for those who watch its turns.
    """

    def __init__(self, bench: RecordBench) -> None:
        self.bench = bench
        self.table = bench.table()
        self.rows = bench.rows()
        self._messages: dict[TurnJob, Any] = {}

    def clear(self) -> None:
        """Delete the messages: what is left behind is found by other tests."""
        for message in self._messages.values():
            self.bench.delete(message)

    def message(self, record: Any = None) -> Any:
        """A draft: pending, and never reserved."""
        return self.note(self.bench.message_of(self.bench.record() if record is None else record))

    def messages(self, count: int, record: Any) -> list[Any]:
        """So many drafts of a record."""
        return [self.message(record) for _ in range(count)]

    def reserved(self, record: Any = None, seconds: float = LIVE) -> Any:
        """A new message that was reserved in the transaction that stored it."""

        async def work() -> Any:
            host = self.bench.begin()
            message = await host.add(record)
            await self.table.reserve(message, seconds)
            name = self.bench.name_of(message)
            await host.commit()
            return name

        record = self.bench.record() if record is None else record
        return self.note(self.bench.run(work()))

    def queue(self, count: int, record: Any) -> list[Any]:
        """So many messages of a record, reserved one after the other."""
        return [self.reserved(record) for _ in range(count)]

    def reserve(self, message: Any, seconds: float = LIVE) -> None:
        """Reserve one that is there, in a transaction of its own."""

        async def work() -> None:
            host = self.bench.begin()
            await self.table.reserve(await host.get(message), seconds)
            await host.commit()

        self.bench.run(work())

    def job(self, message: Any) -> TurnJob:
        """Its job."""
        job: TurnJob = self.table.job_of(self.bench.copy(message))
        return job

    def found(self, message: Any) -> Any:
        """What the table finds of it."""
        return self.bench.run(self.table.find(self.job(message)))

    def store(self, message: Any) -> MessageStore:
        """A store of it."""
        job = self.job(message)
        store: MessageStore = self.table.store(job, self.bench.run(self.table.find(job)))
        return store

    def take(self, message: Any, lease: float = LIVE) -> Any:
        """Let its turn begin, or be taken by another runner; the message."""
        store = self.store(message)
        assert self.bench.run(store.take(self.bench.run(store.load()), lease))
        return message

    def ask(self, message: Any, lease: float = LIVE) -> Any:
        """Park its turn, which runs, until a person has answered; the message."""
        store = self.store(message)
        row = self.bench.run(store.load())
        asking = replace(row, asks=(_ASK,), revision=row.revision + 1)
        assert self.bench.run(store.snapshot(row.epoch, asking, LIVE))
        assert self.bench.run(store.park(row.epoch, lease))
        return message

    def end(self, message: Any) -> Any:
        """End its turn, which has begun; the message."""
        store = self.store(message)
        row = self.bench.run(store.load())
        ended = replace(row, status=TurnStatus.COMPLETED, asks=(), revision=row.revision + 1)
        assert self.bench.run(store.finish(row.epoch, ended))
        return message

    def parked(self, record: Any) -> Any:
        """A new message that is parked behind another one of its record, which runs."""
        message = self.reserved(record)
        assert self.put_behind(message), "another one runs"
        return message

    def put_behind(self, message: Any, seconds: float = LIVE) -> bool:
        """Park it, if that can be."""
        parked: bool = self.bench.run(self.table.put_behind(self.job(message), self.found(message), seconds))
        return parked

    def wait_for_place(self, message: Any, seconds: float = LIVE) -> bool:
        """Let it wait for a place under a limit; whether it waited already."""
        waited: bool = self.bench.run(self.table.wait_for_place(self.job(message), seconds))
        return waited

    def resume_waiting(self, place: Place, seconds: float = LIVE, may_begin: MayBegin = always) -> Any:
        """Resume the first turn that waits for such a place and may begin; its message, or None."""
        message = self.bench.copy(next(iter(self._messages.values())))
        return self.named(self.bench.run(self.table.resume_waiting(message, place, seconds, may_begin)))

    def renew(self, *messages: Any, seconds: float = LIVE) -> None:
        """Renew the reservations of these."""
        self.bench.run(self.table.renew([self.job(message) for message in messages], seconds))

    def release(self, *messages: Any) -> None:
        """Release these."""
        self.bench.run(self.table.release([self.job(message) for message in messages]))

    def resume(self, message: Any, seconds: float = LIVE) -> Any:
        """Resume it; the message of the job, or None."""
        return self.named(self.bench.run(self.table.resume(self.bench.copy(message), seconds)))

    def resume_next(self, message: Any, seconds: float = LIVE) -> Any:
        """Resume the next turn of its record; the message of the job, or None."""
        return self.named(self.bench.run(self.table.resume_next(self.bench.copy(message), seconds)))

    def ahead_of(self, message: Any) -> tuple[Any, bool] | None:
        """What comes before it, and whether that is run."""
        ahead: Ahead | None = self.bench.run(self.table.ahead_of(self.job(message), self.found(message)))
        return None if ahead is None else (self.named(ahead.job), ahead.runs)

    def abandoned(self, reserve_for: float = LIVE) -> list[Any]:
        """Which of these messages are found as abandoned; others, of other tests, are not told of."""
        return self.among(self.bench.run(self.table.abandoned(reserve_for=reserve_for)))

    def is_abandoned(self, message: Any) -> bool:
        """Is it found as abandoned? It is left so."""
        return message in self.abandoned(OUT)

    def among(self, jobs: Any) -> list[Any]:
        """The messages of those jobs that are of this test."""
        return [self._messages[job] for job in jobs if job in self._messages]

    def named(self, job: TurnJob | None) -> Any:
        """The message of a job."""
        return None if job is None else self._messages[job]

    def counted(self, call: Callable[[], Any]) -> int:
        """How many statements a call makes."""
        with self.bench.counted() as statements:
            self.bench.run(call())
            return len(statements)

    def note(self, message: Any) -> Any:
        """That is one of these, if the test has made it itself; the message."""
        self._messages[self.job(message)] = message
        return message


class Staged:
    """For suites that want a stage."""

    @pytest.fixture
    def stage(self, bench: RecordBench) -> Iterator[Stage]:
        """For one test; its messages are deleted afterwards."""
        stage = Stage(bench)
        yield stage
        stage.clear()
