"""Keeping the files that people upload, where `OPENCODE["UPLOADS"]` says."""

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
    """Keep files of a form; give what this returns to the message's `opencode_uploads`.

    ::

        uploads = save_uploads(conversation, request.FILES.getlist("files"))
        message = conversation.message_set.create(prompt=…, opencode_uploads=uploads)

    Args:
        record: The record whose agent gets them.
        files: They have a name and a `file`; or are pairs of the two.

    Raises:
        UploadError: One is not taken; the message is for who sent it. None is kept then.
        ImproperlyConfigured: The settings do not say where they are kept.
    """
    return uploads().save(record, files)


def uploads() -> Uploads:
    """What `OPENCODE["UPLOADS"]` says.

    Raises:
        ImproperlyConfigured: It says nothing.
    """
    found = settings().uploads
    if found is None:
        raise ImproperlyConfigured(
            'OPENCODE["UPLOADS"] does not say where the files are kept that people send: give it an Uploads, or the '
            "Path of a folder"
        )
    return found


def delete_with_rows() -> None:
    """From now on, the files of records go with their rows. Django deletes other models as fast as before."""
    for model in record_models():
        for sender in with_proxies(model):
            post_delete.connect(_row_deleted, sender=sender, dispatch_uid="opencode_sessions.uploads")


def _row_deleted(*, instance: models.Model, using: str, **_: Any) -> None:
    found = settings().uploads
    if found is not None:
        transaction.on_commit(found.removal_of(instance), using=using, robust=True)
