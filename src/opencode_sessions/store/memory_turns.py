"""A table of turns in memory, for tests and experiments. It is safe between threads, not between processes.

It has no transactions: each write takes effect at once, and `after_commit` waits for nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from opencode_sessions.errors import ConfigurationError, RecordNotSavedError, WrongRowError
from opencode_sessions.store.keys import key_of
from opencode_sessions.store.memory import (
    MemoryMessage,
    MemoryMessageStore,
    MemoryRecord,
    MemoryRecordStore,
    is_claimed,
    moment,
)
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.record_columns import UID
from opencode_sessions.store.turn_table import (
    MOST_ASKED,
    Ahead,
    Head,
    MayBegin,
    Place,
    RowKey,
    TurnCounts,
    TurnJob,
    TurnRow,
    Usage,
)

__all__ = ["MemoryTurnTable"]

_NAME = "memory"

_LONG_AGO = 600.0
"""Seconds; longer than a renewal may wait until it can write."""

_NEVER = datetime.min.replace(tzinfo=UTC)

_Row = Mapping[str, Any]


class MemoryTurnTable:
    """`TurnTable` and `TurnRows` over messages in memory, each with its record.

    Args:
        messages: The first messages; see `add`.
    """

    def __init__(self, *messages: MemoryMessage) -> None:
        self._messages: dict[str, MemoryMessage] = {}
        self._lock = threading.Lock()
        for message in messages:
            self.add(message)

    def add(self, message: MemoryMessage) -> None:
        """Add a message to the table. It stays until its `deleted` is set."""
        with self._lock:
            self._messages[str(message.number)] = message

    def job_of(self, message: Any) -> TurnJob:
        """See `TurnTable.job_of`."""
        pk, record = self._pk_of(message), message.record
        if not isinstance(record, MemoryRecord):
            raise ConfigurationError(
                f"{_NAME}:{pk} belongs to no record, but {record!r}: give it a MemoryRecord"
            )
        return TurnJob(_NAME, pk, "", MemoryRecordStore(record).key, uid=message.row[UID])

    def inside(self, tenant: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the port's
        """See `TurnTable.inside`. There are no tenants."""
        return nullcontext()

    async def find(self, job: TurnJob) -> MemoryMessage | None:
        """See `TurnTable.find`. There is only one copy of a message."""
        message = self._messages.get(job.pk)
        if message is None or message.deleted:
            return None
        if job.uid and message.row[UID] != job.uid:
            raise WrongRowError(f"{job} is another row than the one that was enqueued", record=str(job))
        return message

    def store(self, job: TurnJob, message: Any) -> MemoryMessageStore:  # noqa: ARG002 - the port's
        """See `TurnTable.store`."""
        return MemoryMessageStore(message)

    async def reserve(self, message: Any, seconds: float) -> None:
        """See `TurnTable.reserve`."""
        self.job_of(message)
        with self._lock:
            places = (row["opencode_turn_order"] for _, row in self._rows(message.record))
            last = max(places, default=0)
            place = message.row["opencode_turn_order"] or last + 1
            enqueued = message.row["enqueued_at"] or datetime.now(UTC)
            values = {
                "opencode_turn_order": place,
                "enqueued_at": enqueued,
                **_reserved_for(seconds),
            }
            _update(message, _is_pending, values)

    def after_commit(self, message: Any, action: Callable[[], None]) -> None:  # noqa: ARG002 - the port's
        """See `TurnTable.after_commit`. No transaction is ever open."""
        action()

    async def renew(self, jobs: Collection[TurnJob], seconds: float) -> None:
        """See `TurnTable.renew`."""
        for message in self._of(jobs):
            _update(message, _is_reserved, {"opencode_turn_lease": moment(seconds)})

    async def release(self, jobs: Collection[TurnJob]) -> None:
        """See `TurnTable.release`."""
        for message in self._of(jobs):
            _update(message, _is_releasable, {"opencode_turn_lease": moment(-_LONG_AGO)})

    async def abandoned(self, *, reserve_for: float) -> Sequence[TurnJob]:
        """See `TurnTable.abandoned`."""
        jobs = []
        with self._lock:
            rows = sorted(self._rows(), key=lambda each: each[0].number)
            left = [message for message, row in rows if _is_abandoned(row)]
            parked = [message for message in self._parked() if self._is_free(message.record)]
            for message in [*left, *parked]:
                reserved = _reserved_for(reserve_for)
                if message.row["status"] == TurnStatus.STREAMING or _update(message, _is_left, reserved):
                    jobs.append(self.job_of(message))
        return jobs

    async def counts(self) -> TurnCounts:
        """See `TurnTable.counts`."""
        with self._lock:
            rows = [row for _, row in self._rows()]
        live = [row for row in rows if _has_begun(row) and _is_live(row)]
        asking = sum(bool(row["asks"]) for row in live)
        queued = sum(_is_reserved(row) or _is_behind(row) for row in rows)
        return TurnCounts(queued, len(live) - asking, asking, sum(map(_is_abandoned, rows)))

    async def ahead_of(self, job: TurnJob, message: Any) -> Ahead | None:  # noqa: ARG002 - the port's
        """See `TurnTable.ahead_of`."""
        with self._lock:
            found = [
                (not _has_begun(row), *_place(each), each)
                for each, row in self._rows(message.record)
                if _has_begun(row) or (_is_enqueued(row) and _place(each) < _place(message))
            ]
        first = min(found, default=None, key=lambda each: each[:3])
        if first is None or first[3] is message:
            return None
        row = first[3].row
        # A parked turn counts as running: to run it before it is resumed would only park it again.
        return Ahead(self.job_of(first[3]), (_has_begun(row) or _waits_for_a_place(row)) and _is_live(row))

    async def put_behind(self, job: TurnJob, message: Any, seconds: float) -> bool:
        """See `TurnTable.put_behind`."""
        if not _update(message, _has_place, {"opencode_turn_lease": None, "opencode_turn_parked": False}):
            return False
        ahead = await self.ahead_of(job, message)
        if (ahead is not None and ahead.runs) or is_claimed(message.record, MemoryMessageStore(message).key):
            return True
        return not _update(message, _is_behind, {"opencode_turn_lease": moment(seconds)})

    async def wait_for_place(self, job: TurnJob, seconds: float) -> bool:
        """See `TurnTable.wait_for_place`."""
        parked = {**_reserved_for(seconds), "opencode_turn_parked": True}
        return not any(_update(message, _may_wait, parked) for message in self._of([job]))

    async def resume_waiting(
        self,
        message: Any,  # noqa: ARG002 - the port's
        place: Place,
        seconds: float,
        may_begin: MayBegin,
    ) -> TurnJob | None:
        """See `TurnTable.resume_waiting`."""
        with self._lock:
            rows = [
                (row["enqueued_at"] or _NEVER, each.number, each)
                for each, row in self._rows()
                if _fits(each, place)
            ]
        for *_, waiting in sorted(rows, key=lambda each: each[:2])[:MOST_ASKED]:
            if await may_begin(waiting) and _update(waiting, _waits_for_a_place, _reserved_for(seconds)):
                return self.job_of(waiting)
        return None

    async def resume(self, message: Any, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume`."""
        lease = {"opencode_turn_lease": moment(seconds)}
        return self.job_of(message) if _update(message, _waits_for_a_person, lease) else None

    async def resume_next(self, message: Any, seconds: float) -> TurnJob | None:
        """See `TurnTable.resume_next`."""
        with self._lock:
            waiting = [each for each in self._parked() if each.record is message.record]
            if not waiting or not self._is_free(message.record):
                return None
            lease = {"opencode_turn_lease": moment(seconds)}
            return self.job_of(waiting[0]) if _update(waiting[0], _is_behind, lease) else None

    def key_of(self, message: Any) -> RowKey:
        """See `TurnRows.key_of`."""
        return RowKey(_NAME, self._pk_of(message), "")

    async def heads(self, keys: Collection[RowKey]) -> Mapping[RowKey, Head]:
        """See `TurnRows.heads`."""
        rows = ((key, self._row(key)) for key in keys)
        return {key: Head(row["status"], row["revision"]) for key, row in rows if row is not None}

    async def row(self, key: RowKey) -> TurnRow | None:
        """See `TurnRows.row`."""
        row = self._row(key)
        return None if row is None else TurnRow(**{name: deepcopy(row[name]) for name in TurnRow.columns()})

    async def usage(self, message: Any, of: Any, since: datetime | None) -> Usage:  # noqa: ARG002 - the port's
        """See `TurnTable.usage`."""
        with self._lock:
            rows = [row for each, row in self._rows() if of(each)]
        paid = [row for row in rows if since is None or (row["started_at"] or since) >= since]
        tokens = sum(row["input_tokens"] + row["output_tokens"] for row in paid)
        return Usage(sum(map(_is_run, rows)), sum(row["cost"] for row in paid), tokens)

    async def running(self) -> Mapping[str | None, int]:
        """See `TurnTable.running`."""
        with self._lock:
            places = [
                message.record.state for message, row in self._rows() if message.record and _is_run(row)
            ]
        return Counter(state.server for state in places if state.session_id is not None)

    def is_transient(self, error: Exception) -> bool:  # noqa: ARG002 - the port's
        """See `TurnTable.is_transient`. There is no database."""
        return False

    def give_back(self) -> None:
        """See `TurnTable.give_back`. There are no connections."""

    def _pk_of(self, message: Any) -> str:
        if not isinstance(message, MemoryMessage):
            raise ConfigurationError(f"this table has rows of MemoryMessage, not of {type(message).__name__}")
        pk = str(message.number)
        if pk not in self._messages:
            name = key_of(_NAME, [pk])
            raise RecordNotSavedError(f"{name} has no row in this table yet: add() it first", record=name)
        return pk

    def _of(self, jobs: Collection[TurnJob]) -> list[MemoryMessage]:
        return [self._messages[job.pk] for job in jobs if job.pk in self._messages]

    def _row(self, key: RowKey) -> dict[str, Any] | None:
        message = self._messages.get(key.pk)
        if message is None or message.deleted:
            return None
        with message.lock:
            return dict(message.row)

    def _rows(self, record: MemoryRecord | None = None) -> Iterator[tuple[MemoryMessage, _Row]]:
        """The rows that are not deleted, of one record or of all."""
        for message in self._messages.values():
            with message.lock:
                row = dict(message.row)
            if not message.deleted and record in (None, message.record):
                yield message, row

    def _parked(self) -> list[MemoryMessage]:
        """The turns that wait for another turn, in their order."""
        return sorted((message for message, row in self._rows() if _is_behind(row)), key=_place)

    def _is_free(self, record: MemoryRecord | None) -> bool:
        """Is no turn of the record between its begin and its end, and does none wait for a place?"""
        return not any(_has_begun(row) or _waits_for_a_place(row) for _, row in self._rows(record))


def _update(message: MemoryMessage, holds: Callable[[_Row], bool], values: Mapping[str, object]) -> bool:
    with message.lock:
        if message.deleted or not holds(message.row):
            return False
        message.row.update(values)
        return True


def _place(message: MemoryMessage) -> tuple[int, int]:
    return message.row["opencode_turn_order"], message.number


def _is_pending(row: _Row) -> bool:
    return bool(row["status"] == TurnStatus.PENDING)


def _has_begun(row: _Row) -> bool:
    return bool(row["status"] == TurnStatus.STREAMING)


def _is_live(row: _Row) -> bool:
    """Has its lease not expired?"""
    lease: datetime | None = row["opencode_turn_lease"]
    return lease is not None and lease > moment()


def _is_reserved(row: _Row) -> bool:
    return _is_pending(row) and _is_live(row)


def _has_place(row: _Row) -> bool:
    return _is_pending(row) and row["opencode_turn_order"] > 0


def _is_behind(row: _Row) -> bool:
    """Is it parked behind another turn of its record?"""
    return _has_place(row) and row["opencode_turn_lease"] is None


def _is_enqueued(row: _Row) -> bool:
    return _is_pending(row) and (row["opencode_turn_lease"] is not None or row["opencode_turn_order"] > 0)


def _is_abandoned(row: _Row) -> bool:
    was_reserved = _is_pending(row) and row["opencode_turn_lease"] is not None
    return (_has_begun(row) or was_reserved) and not _is_live(row)


def _waits_for_a_place(row: _Row) -> bool:
    return _is_pending(row) and row["opencode_turn_parked"]


def _may_wait(row: _Row) -> bool:
    return _is_pending(row) and (not row["opencode_turn_parked"] or _is_abandoned(row))


def _fits(message: MemoryMessage, place: Place) -> bool:
    """Does it wait for such a place?"""
    if not _waits_for_a_place(message.row) or place.server is None:
        return _waits_for_a_place(message.row) and bool(place.of(message))
    named = message.record.state.server if message.record is not None else None
    return named == place.server or (named is None and place.unnamed)


def _reserved_for(seconds: float) -> dict[str, object]:
    return {"opencode_turn_lease": moment(seconds), "opencode_turn_parked": False}


def _is_left(row: _Row) -> bool:
    """Has it not begun, and may any process reserve it?"""
    return _is_pending(row) and (_is_abandoned(row) or _is_behind(row))


def _waits_for_a_person(row: _Row) -> bool:
    return _has_begun(row) and row["opencode_turn_parked"]


def _is_run(row: _Row) -> bool:
    return _has_begun(row) and _is_live(row) and not row["opencode_turn_parked"]


def _is_releasable(row: _Row) -> bool:
    return (_is_pending(row) or _waits_for_a_person(row)) and row["opencode_turn_lease"] is not None
