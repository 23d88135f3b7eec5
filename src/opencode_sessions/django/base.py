"""The common part of the two stores for Django."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

from opencode_sessions.django.rows import ModelRow
from opencode_sessions.store.record_columns import Columns

__all__ = ["ModelStore"]


class ModelStore(Columns):
    """A store of one model instance's row.

    Args:
        instance: An instance of any model with the store's fields.
        using: The database's alias; by default the routers' choice for writes of this instance.
        asynchronous: True for `opencode_sessions.aio`.

    Raises:
        ConfigurationError: The model lacks a field.
    """

    def __init__(
        self, instance: models.Model, *, using: str | None = None, asynchronous: bool = False
    ) -> None:
        self._row = ModelRow(instance, self.columns, using=using, asynchronous=asynchronous)

    @property
    def key(self) -> str:
        """What names the row: its table and primary key."""
        return self._row.key

    def check(self) -> None:
        """See `RecordStore.check`."""
        self._row.check()

    async def _load(self) -> Mapping[str, Any]:
        return await self._row.run(lambda: self._row.select(self.computed))

    async def _compare_and_set(self, expected: Mapping[str, object], values: Mapping[str, object]) -> bool:
        return await self._row.run(lambda: self._row.update(expected=expected, values=values))

    def _refresh_instance(self, values: Mapping[str, object]) -> None:
        self._row.show(values)

    def _instance_values(self) -> Mapping[str, Any]:
        return vars(self._row.instance)

    def _now(self) -> datetime:
        return timezone.now()  # naive if the host's USE_TZ is off
