"""The ports over named columns: the common part of all database stores.

A store for a database adds four short transactions (fetch, swap, swap or fetch, read), and updates the caller's copy of
the row. The columns, their values and the transitions are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeVar
from uuid import uuid4

from opencode_sessions.errors import RecordGoneError, WrongRowError
from opencode_sessions.store import claims
from opencode_sessions.store.conflicts import ATTEMPTS
from opencode_sessions.store.records import RecordState

__all__ = [
    "EXPIRED",
    "NOT_NULL",
    "NOW",
    "SERVER",
    "UID",
    "ColumnRecords",
    "Columns",
    "Later",
    "gone",
    "new_uid",
]

T = TypeVar("T")


NOT_NULL: Final = object()
"""An expected value: anything but null."""

UID: Final = "opencode_uid"
"""The column that tells a row from rows with the same key in other schemas, tenants and databases."""

NOW: Final = "opencode_now"
"""In a row that was read: the seconds since 1970, by the clock of the database."""

EXPIRED: Final = "opencode_expired"
"""In a row that was read: whether there is no lease, or it has expired, by the clock of the database."""

SERVER: Final = "opencode_server"
"""The column that names the server of a record's session, if there are several."""

_DELETING = "deleting"
"""The digest in a row whose session is being deleted."""


@dataclass(frozen=True, slots=True)
class Later:
    """A value to write: the time `seconds` from now, by the clock of the database.

    It counts from the start of the statement, and is in UTC if the column has no time zone.
    """

    seconds: float

    @property
    def microseconds(self) -> int:
        """The value as a statement's parameter."""
        return round(self.seconds * 1_000_000)


def gone(key: str) -> RecordGoneError:
    """The error for a row that cannot be found."""
    said = "was deleted, or the library's own database connection does not see it (see docs/tenants.md)"
    return RecordGoneError(f"{key} {said}", record=key)


def new_uid() -> str:
    """A random value for `opencode_uid`, 32 characters."""
    return uuid4().hex


class Columns(ABC):
    """One row with columns of our names.

    The store has a connection of its own, which may lead to another place than the caller's: for example to another
    schema that has a row with the same key. So every read and write compares the column `opencode_uid` with the value
    in the caller's copy, else with the first value that this store read. A row without a value is not checked.
    """

    columns: ClassVar[tuple[str, ...]]
    computed: ClassVar[str]
    """The value that a read computes: `NOW` or `EXPIRED`. Leases go by the database's clock: hosts' clocks differ."""

    _uid: str | None = None

    @property
    @abstractmethod
    def key(self) -> str:
        """The row's key: its table and primary key."""

    @abstractmethod
    def check(self) -> None:
        """See `RecordStore.check`."""

    @abstractmethod
    async def _load(self) -> Mapping[str, Any]:
        """The row as committed now, with the `computed` value; RecordGoneError without a row."""

    @abstractmethod
    async def _compare_and_set(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        """Write `values` if the row has the `expected` values, in one statement. True if it was written.

        An expected value may be `NOT_NULL`. A value to write may be a `Later`.
        """

    @abstractmethod
    def _refresh_instance(self, values: Mapping[str, object]) -> None:
        """Update the caller's copy of the row, if there is one, to the committed values. Never queries."""

    @abstractmethod
    def _instance_values(self) -> Mapping[str, Any]:
        """The values in the caller's copy. Never queries."""

    def _own(self, expected: Mapping[str, object]) -> Mapping[str, object]:
        """The expected values of a write, with the check that the row is the caller's."""
        uid = self._instance_values().get(UID) or self._uid
        return expected if uid is None else {**expected, UID: uid}

    async def _set(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        """`_compare_and_set`, only of the caller's row."""
        return await self._compare_and_set(self._own(expected), values)

    def _checked(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row that was read, checked to be the caller's.

        Raises:
            WrongRowError: It is another row.
        """
        uid = self._instance_values().get(UID) or self._uid
        if uid is not None and row[UID] != uid:
            raise WrongRowError(
                f"{self.key}: the library's own database connection found another row under this key than yours "
                f"({UID} is {row[UID]}, not {uid}). It reads another schema, tenant or database than your connection "
                "did. Name the tenant: see docs/tenants.md. Nothing was sent or written",
                record=self.key,
            )
        self._uid = row[UID]
        return row

    def _now(self) -> datetime:
        return datetime.now(UTC)


class ColumnRecords(Columns):
    """`RecordStore` over six columns.

    | the row is | opencode_session_id | …_ready_at | …_digest |
    |---|---|---|---|
    | new | null | null | null |
    | reserved | set | null | null |
    | ready | set | set | set |
    | deleting | set | null | `deleting` |

    `opencode_turn` is the record's lock: see `store.claims`. `opencode_uid` identifies the row: see `Columns`.
    `opencode_server` names the session's server; it is null if there was never more than one.
    """

    columns = (
        "opencode_session_id",
        "opencode_session_ready_at",
        "opencode_session_digest",
        "opencode_turn",
        UID,
        SERVER,
    )
    computed = NOW

    _shown: str | None = None
    _shown_server: str | None = None
    _ready_at: datetime | None = None
    _server: str | None = None

    @abstractmethod
    async def _set_or_load(
        self, expected: Mapping[str, object], values: Mapping[str, object]
    ) -> Mapping[str, Any] | None:
        """`_compare_and_set`; if it wrote nothing, the row, read in the same transaction."""

    @abstractmethod
    async def _read(self, function: Callable[[Any], T]) -> T:
        """The result of `function` for a fresh copy of the row, in a transaction that is rolled back."""

    @property
    def seen(self) -> str | None:
        """See `RecordStore.seen`. If the copy has not loaded the column, the last value that this store gave it."""
        seen: str | None = self._instance_values().get("opencode_session_id", self._shown)
        return seen

    @property
    def seen_server(self) -> str | None:
        """See `RecordStore.seen_server`."""
        seen: str | None = self._instance_values().get(SERVER, self._shown_server)
        return seen

    async def load(self) -> RecordState:
        """See `RecordStore.load`."""
        return self._state(self._checked(await self._load()))

    async def read(self, function: Callable[[Any], T]) -> tuple[RecordState, T]:
        """See `RecordStore.read`. The function is an ordinary one, also in the async API."""

        def both(record: Any) -> tuple[Mapping[str, Any], T]:
            row = {name: getattr(record, name) for name in self.columns}
            return self._checked(row), function(record)

        row, made = await self._read(both)
        return self._state(row), made

    async def reserve(
        self, expected: str | None, session_id: str, *, server: str | None = None
    ) -> RecordState:
        """See `RecordStore.reserve`. If another row has that session id, the database's own error is raised."""
        return await self._write_id({"opencode_session_id": expected}, session_id, server)

    async def supersede(self, expected: str, session_id: str, *, server: str | None = None) -> RecordState:
        """See `RecordStore.supersede`."""
        return await self._write_id(_row(expected), session_id, server)

    async def _write_id(
        self, expected: Mapping[str, object], session_id: str, server: str | None
    ) -> RecordState:
        found: Mapping[str, Any] | None = None
        expected = self._own(expected)
        values = _row(session_id) if server is None else {**_row(session_id), SERVER: server}
        for _ in range(ATTEMPTS):
            found = await self._set_or_load(expected, values)
            if found is None or any(found[name] != value for name, value in expected.items()):
                break
            # The swap failed and the fetch succeeded, so another worker wrote in between.
        if found is None:
            return RecordState(session_id, server=self._server if server is None else server)
        return self._state(self._checked(found))

    async def confirm(self, session_id: str, digest: str) -> bool:
        """See `RecordStore.confirm`."""
        now = self._now()
        confirmed = await self._set(_row(session_id), _row(session_id, now, digest))
        if confirmed:
            self._ready_at = now
        return confirmed

    async def set_digest(self, session_id: str, expected: str | None, digest: str) -> bool:
        """See `RecordStore.set_digest`."""
        return await self._set(_row(session_id, NOT_NULL, expected), {"opencode_session_digest": digest})

    async def mark_deleting(self, session_id: str) -> bool:
        """See `RecordStore.mark_deleting`."""
        return await self._set({"opencode_session_id": session_id}, _row(session_id, None, _DELETING))

    async def clear_deleted(self, session_id: str) -> bool:
        """See `RecordStore.clear_deleted`."""
        return await self._set(_row(session_id, None, _DELETING), {**_row(None), SERVER: None})

    async def claim(self, holder: str, lease: float) -> str | None:
        """See `RecordStore.claim`."""
        while True:
            row = self._checked(await self._load())
            found, now = row["opencode_turn"], float(row[NOW])
            other = claims.other_holder(found, holder, now)
            if other is not None:
                return other
            mine = claims.claim(holder, now + lease)
            if await self._set({"opencode_turn": found}, {"opencode_turn": mine}):
                return None

    async def hold(self, holder: str, lease: float) -> bool:
        """See `RecordStore.hold`."""
        row = self._checked(await self._load())
        found = row["opencode_turn"]
        if claims.holder_of(found) != holder:
            return False
        longer = claims.claim(holder, float(row[NOW]) + lease)
        return await self._set({"opencode_turn": found}, {"opencode_turn": longer})

    async def unclaim(self, holder: str) -> None:
        """See `RecordStore.unclaim`."""
        found = self._checked(await self._load())["opencode_turn"]
        if claims.holder_of(found) == holder:
            await self._set({"opencode_turn": found}, {"opencode_turn": None})

    def remember(self, state: RecordState) -> None:
        """See `RecordStore.remember`."""
        self._shown, self._shown_server = state.session_id, state.server
        ready_at = (self._ready_at or self._now()) if state.ready else None
        shown = _row(state.session_id, ready_at, _DELETING if state.deleting else state.digest)
        self._refresh_instance({**shown, SERVER: state.server})

    def _state(self, row: Mapping[str, Any]) -> RecordState:
        digest, server = row["opencode_session_digest"], row[SERVER]
        self._server = server
        if digest == _DELETING:
            return RecordState(row["opencode_session_id"], deleting=True, server=server)
        self._ready_at = row["opencode_session_ready_at"]
        ready = self._ready_at is not None
        return RecordState(row["opencode_session_id"], ready=ready, digest=digest, server=server)


def _row(session_id: str | None, ready_at: object = None, digest: str | None = None) -> dict[str, object]:
    return {
        "opencode_session_id": session_id,
        "opencode_session_ready_at": ready_at,
        "opencode_session_digest": digest,
    }
