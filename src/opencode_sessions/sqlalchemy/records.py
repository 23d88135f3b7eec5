"""The record store for SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from opencode_sessions.sqlalchemy.base import RowStore
from opencode_sessions.sqlalchemy.rows import show
from opencode_sessions.store.records import RecordState

__all__ = ["SQLAlchemyRecordStore"]

T = TypeVar("T")


class SQLAlchemyRecordStore(RowStore):
    """`RecordStore` over one mapped row; see `RowStore` for its arguments."""

    attributes: ClassVar[tuple[str, ...]] = ("opencode_session_id", "opencode_session_ready_at")

    _shown: str | None = None
    _ready_at: datetime | None = None

    @property
    def seen(self) -> str | None:
        """See `RecordStore.seen`. While the copy is expired, what this store last let it show."""
        copy = {} if self._row.instance is None else vars(self._row.instance)
        seen: str | None = copy.get("opencode_session_id", self._shown)
        return seen

    async def load(self) -> RecordState:
        """See `RecordStore.load`."""
        return await self._run(self._state)

    async def read(self, function: Callable[[Any], T]) -> T:
        """See `RecordStore.read`. What the function changes in the record is rolled back.

        The function is an ordinary one in both faces, and follows lazy relations in both.
        """

        def work(connection: Connection) -> T:
            with Session(connection, autoflush=False) as session:
                record = session.get(self._row.table.mapper, self._row.identity)
                if record is None:
                    raise self._gone()
                return function(record)

        return await self._run(work)

    async def reserve(self, expected: str | None, session_id: str) -> RecordState:
        """See `RecordStore.reserve`.

        Raises:
            sqlalchemy.exc.IntegrityError: Another row has that session id.
        """
        before = {"opencode_session_id": expected}
        after = {"opencode_session_id": session_id, "opencode_session_ready_at": None}

        def work(connection: Connection) -> RecordState:
            # The UPDATE comes first: SQLite then takes its write lock at once, rather than upgrading a read.
            with connection.begin():
                if self._update(connection, expected=before, values=after):
                    return RecordState(session_id, ready=False)
                return self._state(connection)

        return await self._run(work)

    async def confirm(self, session_id: str) -> bool:
        """See `RecordStore.confirm`."""
        now = datetime.now(UTC)
        before = {"opencode_session_id": session_id, "opencode_session_ready_at": None}

        def work(connection: Connection) -> bool:
            with connection.begin():
                return self._update(connection, expected=before, values={"opencode_session_ready_at": now})

        confirmed = await self._run(work)
        if confirmed:
            self._ready_at = now
        return confirmed

    def remember(self, state: RecordState) -> None:
        """See `RecordStore.remember`. Nothing is begun in the copy's ORM session, and nothing left to flush."""
        self._shown = state.session_id
        if self._row.instance is not None:
            ready_at = (self._ready_at or datetime.now(UTC)) if state.ready else None
            show(
                self._row.instance,
                {"opencode_session_id": state.session_id, "opencode_session_ready_at": ready_at},
            )

    def _state(self, connection: Connection) -> RecordState:
        found = self._select(connection)
        self._ready_at = found.opencode_session_ready_at
        return RecordState(found.opencode_session_id, ready=self._ready_at is not None)
