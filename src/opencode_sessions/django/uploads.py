"""Storing the files that people upload, by `OPENCODE["UPLOADS"]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction
from django.db.models.signals import post_delete

from opencode_sessions.django.conf import settings
from opencode_sessions.django.deletion import with_proxies
from opencode_sessions.django.registry import record_models
from opencode_sessions.files.uploads import Upload, Uploads

__all__ = ["delete_with_rows", "save_uploads", "uploads"]


def save_uploads(record: models.Model, files: Iterable[Any]) -> list[Upload]:
    """Store the files of a form, and return the value for the message's `opencode_uploads`.

    ::

        uploads = save_uploads(conversation, request.FILES.getlist("files"))
        message = conversation.message_set.create(prompt=…, opencode_uploads=uploads)

    Args:
        record: The record whose agent gets the files.
        files: Objects with a name and a `file`, or pairs of the two.

    Raises:
        UploadError: A file is not accepted; the message is for the person who sent it. No file is stored then.
        ImproperlyConfigured: The settings have no `UPLOADS`.
    """
    return uploads().save(record, files)


def uploads() -> Uploads:
    """The `OPENCODE["UPLOADS"]`.

    Raises:
        ImproperlyConfigured: It is not set.
    """
    found = settings().uploads
    if found is None:
        raise ImproperlyConfigured(
            'OPENCODE["UPLOADS"] does not say where the files are kept that people send: give it an Uploads, or the '
            "Path of a folder"
        )
    return found


def delete_with_rows() -> None:
    """From now on, delete the files of records with their rows. Deletions of other models stay as fast as before."""
    for model in record_models():
        for sender in with_proxies(model):
            post_delete.connect(_row_deleted, sender=sender, dispatch_uid="opencode_sessions.uploads")


def _row_deleted(*, instance: models.Model, using: str, **_: Any) -> None:
    found = settings().uploads
    if found is not None:
        transaction.on_commit(found.removal_of(instance), using=using, robust=True)
