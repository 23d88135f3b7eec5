"""Removing the artifacts of a record, or of a message, along with its row, when Django deletes that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import models, transaction
from django.db.models.signals import pre_delete

from opencode_sessions.django.artifacts.store import DjangoArtifactStore, artifacts_database, remove_rows
from opencode_sessions.django.conf import settings
from opencode_sessions.django.deletion import with_proxies
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.django.registry import message_models, record_models
from opencode_sessions.files.rows import hash_of
from opencode_sessions.reporting import ErrorContext, ErrorReporter

__all__ = ["connect"]

_UID = "opencode_sessions.django.artifacts"


def connect() -> None:
    """From now on, the artifacts go with their rows. A receiver for each model: one for all would slow down others."""
    for models_of, receiver in ((record_models, _record_deleted), (message_models, _message_deleted)):
        for model in models_of():
            for sender in with_proxies(model):
                pre_delete.connect(receiver, sender=sender, dispatch_uid=_UID, weak=False)


def _record_deleted(*, instance: models.Model, using: str, **_: Any) -> None:
    found = settings().artifacts
    if found is not None and found.sandbox.disk:
        folder = found.sandbox.name(instance)
        transaction.on_commit(partial(_remove, partial(found.sandbox.remove, folder), folder), using=using)
    _remove_rows(DjangoRecordStore(instance).key, "record_hash", using)


def _message_deleted(*, instance: models.Model, using: str, **_: Any) -> None:
    _remove_rows(DjangoMessageStore(instance).key, "message_hash", using)


def _remove_rows(key: str, column: str, using: str) -> None:
    """In the same transaction, if they are in the same database; else `opencode_files` finds them."""
    if using == artifacts_database():
        names = remove_rows(**{column: hash_of(key)})
        if any(names):
            transaction.on_commit(partial(_remove, partial(_discard, names), key), using=using)


def _discard(names: Sequence[str]) -> None:
    storage = DjangoArtifactStore().storage
    for name in filter(None, names):
        storage.remove(name)


def _remove(remove: Any, key: str) -> None:
    try:
        remove()
    except Exception as error:  # noqa: BLE001 - the row is gone already: it is reported, not raised
        ErrorReporter(settings().on_error)(error, ErrorContext("delete_with_row", key))
