"""The message store for Django."""

from __future__ import annotations

from typing import Self

from opencode_sessions.django.base import ModelStore
from opencode_sessions.store.message_columns import ColumnMessages

__all__ = ["DjangoMessageStore"]


class DjangoMessageStore(ModelStore, ColumnMessages):
    """`MessageStore` over an instance of any model with the fields of `MessageModel`; see `ModelStore`."""

    def sibling(self, key: str) -> Self | None:
        """See `MessageStore.sibling`. It is in the same database, of the same tenant."""
        found = self._row.named(key)
        if found is None:
            return None
        store = type(self)(found, using=self._row.using, asynchronous=self._row.asynchronous)
        store._row.tenant = self._row.tenant  # noqa: SLF001 - of the same class; this thread may have another tenant
        return store
