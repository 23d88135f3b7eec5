"""The tables of artifacts."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, Storage, storages
from django.db import models

from opencode_sessions.files.rows import SHORT

__all__ = ["ArtifactRow", "FilesDue", "artifact_storage"]

_ALIAS = "opencode_artifacts"
_HASH = 64


def artifact_storage() -> Storage:
    """The storage that `STORAGES["opencode_artifacts"]` names.

    Raises:
        ImproperlyConfigured: There is none.
    """
    try:
        return storages[_ALIAS]
    except InvalidStorageError as error:
        raise ImproperlyConfigured(
            f'STORAGES["{_ALIAS}"] must say where the files of agents are kept: any storage that is not served to the '
            "public, as MEDIA_ROOT often is, because agents write HTML, too"
        ) from error


def _column(length: int = 0, **options: Any) -> Any:
    if length:
        return models.CharField(max_length=length, **options)
    return models.TextField(blank=True, **options)


class ArtifactRow(models.Model):  # noqa: DJ008 - people see the artifact, not its row
    """What became of one path in one turn: see `Artifact`."""

    artifact_id = _column(_HASH, unique=True)
    place = _column(_HASH, unique=True)
    message_hash = _column(_HASH, db_index=True)
    record_hash = _column(_HASH, db_index=True)
    history = _column(_HASH, db_index=True)
    kind = _column(16)
    size: models.BigIntegerField[int, int] = models.BigIntegerField()
    message = _column()
    record = _column()
    path = _column()
    reason = _column()
    name = _column()
    sha256 = _column(_HASH, blank=True)
    signature = _column(_HASH, blank=True)
    media_type = _column(SHORT, blank=True)
    part_id = _column(SHORT, blank=True)
    author = _column(SHORT, blank=True)
    stored = models.FileField(max_length=SHORT, storage=artifact_storage, blank=True, db_index=True)

    class Meta:
        """They are listed by path."""

        db_table = "opencode_artifacts"
        ordering: ClassVar[list[str]] = ["path"]


class FilesDue(models.Model):  # noqa: DJ008 - nobody sees one
    """That a turn's files are to be collected: see `Due`."""

    message_hash = _column(_HASH, primary_key=True)
    record_hash = _column(_HASH, db_index=True)
    message = _column()
    record = _column()
    folder = _column(SHORT)
    job = models.JSONField()
    look_at: models.BigIntegerField[int, int] = models.BigIntegerField(db_index=True)

    class Meta:
        """The oldest comes first."""

        db_table = "opencode_files_due"
        ordering: ClassVar[list[str]] = ["look_at"]
