"""Keeping the files that people upload, where `OPENCODE["UPLOADS"]` says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction

from opencode_sessions.django.conf import settings
from opencode_sessions.files.uploads import Upload, Uploads

__all__ = ["remove_with_row", "save_uploads", "uploads"]


def save_uploads(record: models.Model, files: Iterable[Any]) -> list[Upload]:
    """Keep files of a form; give what this returns to the message's `opencode_uploads`.

    ::

        uploads = save_uploads(conversation, request.FILES.getlist("files"))
        message = conversation.message_set.create(prompt=…, opencode_uploads=uploads)

    Args:
        record: Whose agent they are for.
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


def remove_with_row(*, instance: models.Model, using: str, **_: Any) -> None:
    """Receives `post_delete`: the files of a record go when its row has gone."""
    found = settings().uploads if hasattr(instance, "opencode_session_id") else None
    if found is not None:
        transaction.on_commit(found.removal_of(instance), using=using, robust=True)
