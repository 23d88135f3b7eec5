"""The message store for SQLAlchemy."""

from __future__ import annotations

from typing import Self

from opencode_sessions.sqlalchemy.base import RowStore
from opencode_sessions.store.message_columns import ColumnMessages

__all__ = ["SQLAlchemyMessageStore"]


class SQLAlchemyMessageStore(RowStore, ColumnMessages):
    """`MessageStore` over one mapped row; see `RowStore` for its arguments."""

    def sibling(self, key: str) -> Self | None:
        """See `MessageStore.sibling`."""
        return self._beside(key)
