"""The in-memory stores, for tests and experiments. They are safe between threads, not between processes."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar, cast

from opencode_sessions.errors import RecordGoneError
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.store import claims
from opencode_sessions.store.keys import key_of, values_in
from opencode_sessions.store.message_columns import ColumnMessages
from opencode_sessions.store.messages import MessageState
from opencode_sessions.store.origin import new_trace
from opencode_sessions.store.record_columns import EXPIRED, UID, Later, new_uid
from opencode_sessions.store.records import RecordState

__all__ = ["MemoryMessage", "MemoryMessageStore", "MemoryRecord", "MemoryRecordStore", "is_claimed", "moment"]

T = TypeVar("T")

_EPOCH = datetime.now(UTC) - timedelta(seconds=time.monotonic())

_TABLE = "memory"
_numbers = itertools.count(1)
_messages: weakref.WeakValueDictionary[int, MemoryMessage] = weakref.WeakValueDictionary()


class MemoryRecord:
    """A record that lives in this process: a title and a session.

    Attributes:
        title: The session's title.
        opencode_directory: The directory in which its agent works; None: the client's.
        state: The row.
        deleted: Set it to simulate a deleted row.
    """

    def __init__(self, title: str = "", *, directory: str | None = None) -> None:
        self.number = next(_numbers)
        self.title = title
        self.opencode_directory = directory
        self.state = RecordState()
        self.deleted = False
        self.turn: str | None = None
        self.lock = threading.Lock()

    @property
    def opencode_session_id(self) -> str | None:
        """The session's id; None before there is one."""
        return self.state.session_id

    def __opencode_store__(self, *, asynchronous: bool) -> MemoryRecordStore:
        return MemoryRecordStore(self)


class MemoryRecordStore:
    """`RecordStore` over a `MemoryRecord`."""

    def __init__(self, record: MemoryRecord) -> None:
        self._record = record
        self.key = key_of(_TABLE, [record.number])

    @property
    def seen(self) -> str | None:
        """The record is its own only copy."""
        return self._record.state.session_id

    @property
    def seen_server(self) -> str | None:
        """Likewise."""
        return self._record.state.server

    def check(self) -> None:
        """Nothing can be wrong with a record in memory."""

    async def load(self) -> RecordState:
        """See `RecordStore.load`."""
        with self._record.lock:
            return self._found()

    async def read(self, function: Callable[[Any], T]) -> tuple[RecordState, T]:
        """See `RecordStore.read`."""
        return await self.load(), function(self._record)

    async def reserve(
        self, expected: str | None, session_id: str, *, server: str | None = None
    ) -> RecordState:
        """See `RecordStore.reserve`."""
        with self._record.lock:
            found = self._found()
            if found.session_id == expected:
                self._record.state = RecordState(session_id, server=server or found.server)
            return self._record.state

    async def supersede(self, expected: str, session_id: str, *, server: str | None = None) -> RecordState:
        """See `RecordStore.supersede`."""
        with self._record.lock:
            found = self._found()
            if _is(found, RecordState(expected)):
                self._record.state = RecordState(session_id, server=server or found.server)
            return self._record.state

    async def confirm(self, session_id: str, digest: str) -> bool:
        """See `RecordStore.confirm`."""
        ready = RecordState(session_id, ready=True, digest=digest)
        return self._compare_and_set(lambda found: _is(found, RecordState(session_id)), ready)

    async def set_digest(self, session_id: str, expected: str | None, digest: str) -> bool:
        """See `RecordStore.set_digest`."""
        before = RecordState(session_id, ready=True, digest=expected)
        return self._compare_and_set(lambda found: _is(found, before), replace(before, digest=digest))

    async def mark_deleting(self, session_id: str) -> bool:
        """See `RecordStore.mark_deleting`."""
        deleting = RecordState(session_id, deleting=True)
        return self._compare_and_set(lambda found: found.session_id == session_id, deleting)

    async def clear_deleted(self, session_id: str) -> bool:
        """See `RecordStore.clear_deleted`."""
        deleting = RecordState(session_id, deleting=True)
        return self._compare_and_set(lambda found: _is(found, deleting), RecordState())

    async def claim(self, holder: str, lease: float) -> str | None:
        """See `RecordStore.claim`."""
        with self._record.lock:
            other = claims.other_holder(self._record.turn, holder, _seconds())
            if other is None:
                self._record.turn = claims.claim(holder, _seconds() + lease)
            return other

    async def hold(self, holder: str, lease: float) -> bool:
        """See `RecordStore.hold`."""
        with self._record.lock:
            held = claims.holder_of(self._record.turn) == holder
            if held:
                self._record.turn = claims.claim(holder, _seconds() + lease)
            return held

    async def unclaim(self, holder: str) -> None:
        """See `RecordStore.unclaim`."""
        with self._record.lock:
            if claims.holder_of(self._record.turn) == holder:
                self._record.turn = None

    def remember(self, state: RecordState) -> None:
        """The record is its own only copy."""

    def _found(self) -> RecordState:
        if self._record.deleted:
            raise _gone(self.key)
        return self._record.state

    def _compare_and_set(self, expected: Callable[[RecordState], bool], state: RecordState) -> bool:
        with self._record.lock:
            found = self._record.state
            if self._record.deleted or not expected(found):
                return False
            self._record.state = state if state == RecordState() else replace(state, server=found.server)
            return True


class MemoryMessage:
    """A message that lives in this process.

    Args:
        prompt: The prompt's text.
        record: The record of the turn, for a `MemoryTurnTable`.

    Attributes:
        record: That record.
        row: The columns.
        deleted: Set it to simulate a deleted row.
    """

    def __init__(self, prompt: str, record: MemoryRecord | None = None) -> None:
        self.number = next(_numbers)
        self.record = record
        self.deleted = False
        self.row: dict[str, Any] = {
            **dict.fromkeys(MemoryMessageStore.columns),
            UID: new_uid(),
            "opencode_trace": new_trace(),
            "prompt": prompt,
            "status": "pending",
            "opencode_turn_epoch": 0,
            "opencode_turn_order": 0,
            "opencode_turn_parked": False,
            "content": "",
            "parts": [],
            "asks": [],
            "cost": 0.0,
            "input_tokens": 0,
            "output_tokens": 0,
            "revision": 0,
        }
        self.lock = threading.Lock()
        _messages[self.number] = self

    @property
    def state(self) -> MessageState:
        """The row, as a store reads it."""
        return run_sync(MemoryMessageStore(self).load())

    def __opencode_store__(self, *, asynchronous: bool) -> MemoryMessageStore:
        return MemoryMessageStore(self)


class MemoryMessageStore(ColumnMessages):
    """`MessageStore` over a `MemoryMessage`."""

    def __init__(self, message: MemoryMessage) -> None:
        self._message = message

    @property
    def key(self) -> str:
        """The message's key in this process."""
        return key_of(_TABLE, [self._message.number])

    def check(self) -> None:
        """Nothing can be wrong with a message in memory."""

    def sibling(self, key: str) -> Self | None:
        """See `MessageStore.sibling`. A message without references is deleted."""
        for number in values_in(key, _TABLE, [self._message.number]) or ():
            if (message := _messages.get(cast("int", number))) is not None:
                return type(self)(message)
        return None

    async def _load(self) -> Mapping[str, Any]:
        with self._message.lock:
            if self._message.deleted:
                raise _gone(self.key)
            lease = self._message.row["opencode_turn_lease"]
            return {**self._message.row, EXPIRED: lease is None or lease <= self._now()}

    async def _compare_and_set(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        with self._message.lock:
            row = self._message.row
            if self._message.deleted or any(row[name] != value for name, value in expected.items()):
                return False
            row.update({name: self._value(value) for name, value in values.items()})
            return True

    def _value(self, value: object) -> object:
        return self._now() + timedelta(seconds=value.seconds) if isinstance(value, Later) else value

    def _now(self) -> datetime:
        return moment()

    def _refresh_instance(self, values: Mapping[str, object]) -> None:
        """The message is its own only copy."""

    def _instance_values(self) -> Mapping[str, Any]:
        return self._message.row


def moment(seconds: float = 0.0) -> datetime:
    """The time `seconds` from now, by a clock that never jumps, unlike the host's."""
    return _EPOCH + timedelta(seconds=time.monotonic() + seconds)


def is_claimed(record: MemoryRecord, holder: str) -> bool:
    """Does another turn than `holder` hold the record now?"""
    with record.lock:
        return claims.other_holder(record.turn, holder, _seconds()) is not None


def _is(found: RecordState, expected: RecordState) -> bool:
    """Are the states equal, apart from the server?"""
    return replace(found, server=None) == expected


def _gone(key: str) -> RecordGoneError:
    return RecordGoneError(f"{key} was deleted", record=key)


def _seconds() -> float:
    return time.monotonic()
