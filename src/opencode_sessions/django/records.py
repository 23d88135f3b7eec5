"""The record store for Django."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from opencode_sessions.django.base import ModelStore
from opencode_sessions.store.record_columns import ColumnRecords

__all__ = ["DjangoRecordStore"]

T = TypeVar("T")


class DjangoRecordStore(ModelStore, ColumnRecords):
    """`RecordStore` over an instance of any model with the fields of `RecordModel`; see `ModelStore`."""

    async def _read(self, function: Callable[[Any], T]) -> T:
        return await self._row.run(lambda: self._row.read(function), shares=False)

    async def _set_or_load(
        self, expected: Mapping[str, object], values: Mapping[str, object]
    ) -> Mapping[str, Any] | None:
        def work() -> Mapping[str, Any] | None:
            return (
                None
                if self._row.update(expected=expected, values=values)
                else self._row.select(self.computed)
            )

        return await self._row.run(work)
