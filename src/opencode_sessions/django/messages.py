"""The message store for Django."""

from __future__ import annotations

from opencode_sessions.django.base import ModelStore
from opencode_sessions.store.message_columns import ColumnMessages

__all__ = ["DjangoMessageStore"]


class DjangoMessageStore(ModelStore, ColumnMessages):
    """`MessageStore` over an instance of any model with the fields of `MessageModel`; see `ModelStore`."""
