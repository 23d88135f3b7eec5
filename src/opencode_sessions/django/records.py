"""The record store for Django."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.db import models
from django.utils import timezone

from opencode_sessions.django.rows import ModelRow
from opencode_sessions.store.records import RecordState

__all__ = ["DjangoRecordStore"]

T = TypeVar("T")

_FIELDS = ("opencode_session_id", "opencode_session_ready_at")


class DjangoRecordStore:
    """`RecordStore` over the row of a model's instance.

    Args:
        instance: Of any model with the fields of `RecordModel`.
        using: The database's alias; by default where the routers send writes of this instance.
        asynchronous: True for `opencode_sessions.aio`.

    Raises:
        ConfigurationError: The model lacks a field.
    """

    def __init__(
        self, instance: models.Model, *, using: str | None = None, asynchronous: bool = False
    ) -> None:
        self._row = ModelRow(instance, _FIELDS, using=using, asynchronous=asynchronous)
        self._shown: str | None = None
        self._ready_at: datetime | None = None

    @property
    def key(self) -> str:
        """See `RecordStore.key`."""
        return self._row.key

    @property
    def seen(self) -> str | None:
        """See `RecordStore.seen`. While the field is deferred, what this store last let the copy show."""
        seen: str | None = vars(self._row.instance).get("opencode_session_id", self._shown)
        return seen

    def check(self) -> None:
        """See `RecordStore.check`."""
        self._row.check()

    async def load(self) -> RecordState:
        """See `RecordStore.load`."""
        return await self._row.run(self._state)

    async def read(self, function: Callable[[Any], T]) -> T:
        """See `RecordStore.read`. What the function changes in the database is rolled back."""
        return await self._row.run(lambda: self._row.read(function))

    async def reserve(self, expected: str | None, session_id: str) -> RecordState:
        """See `RecordStore.reserve`.

        Raises:
            django.db.IntegrityError: Another row has that session id.
        """
        before = {"opencode_session_id": expected}
        after = {"opencode_session_id": session_id, "opencode_session_ready_at": None}

        def work() -> RecordState:
            if self._row.update(expected=before, values=after):
                return RecordState(session_id, ready=False)
            return self._state()

        return await self._row.run(work)

    async def confirm(self, session_id: str) -> bool:
        """See `RecordStore.confirm`."""
        now = timezone.now()
        before = {"opencode_session_id": session_id, "opencode_session_ready_at": None}
        confirmed = await self._row.run(
            lambda: self._row.update(expected=before, values={"opencode_session_ready_at": now})
        )
        if confirmed:
            self._ready_at = now
        return confirmed

    def remember(self, state: RecordState) -> None:
        """See `RecordStore.remember`."""
        self._shown = state.session_id
        ready_at = (self._ready_at or timezone.now()) if state.ready else None
        self._row.show({"opencode_session_id": state.session_id, "opencode_session_ready_at": ready_at})

    def _state(self) -> RecordState:
        found = self._row.select()
        self._ready_at = found["opencode_session_ready_at"]
        return RecordState(found["opencode_session_id"], ready=self._ready_at is not None)
