"""Artifacts in Django's tables, and their bytes in any storage of Django's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, models, router, transaction

from opencode_sessions.django.artifacts.storage import DjangoStorage
from opencode_sessions.django.connections import borrowed
from opencode_sessions.django.rows import all_rows
from opencode_sessions.django.tenants import all_tenants, inside
from opencode_sessions.files.ports import Artifact, Due, FileKind
from opencode_sessions.files.rows import (
    artifact_of,
    columns_of,
    due_columns,
    due_of_columns,
    hash_of,
    now,
)
from opencode_sessions.files.stored import ArtifactRow, StoredArtifacts
from opencode_sessions.store.index import batches

__all__ = ["DjangoArtifactStore", "artifacts_database", "remove_rows"]

T = TypeVar("T")

_APP = "opencode_sessions.django.artifacts"


class DjangoArtifactStore(StoredArtifacts):
    """An `ArtifactStore` of the app `opencode_sessions.django.artifacts`.

    Its bytes are where `STORAGES["opencode_artifacts"]` says. Its rows are those of the tenant in force.

    Args:
        asynchronous: Do calls suspend? A host's settings take one whose calls block; see `suspending`.

    Raises:
        ImproperlyConfigured: The app is not installed, or there is no such storage.
    """

    conflict = IntegrityError

    def __init__(self, *, asynchronous: bool = False) -> None:
        if not apps.is_installed(_APP):
            raise ImproperlyConfigured(
                f'add "{_APP}" to INSTALLED_APPS, and migrate: it has the tables of files'
            )
        from opencode_sessions.django.artifacts.models import artifact_storage  # noqa: PLC0415 - once apps are there

        super().__init__(DjangoStorage(artifact_storage()), suspends=asynchronous)

    def suspending(self) -> DjangoArtifactStore:
        """The same store for asyncio."""
        return DjangoArtifactStore(asynchronous=True)

    async def list(self, message: str) -> Sequence[Artifact]:
        """See `ArtifactStore.list`."""
        return await self._select(message_hash=hash_of(message))

    async def previous(self, artifact: Artifact) -> Artifact | None:
        """See `ArtifactStore.previous`."""
        found = await self._run(lambda: _versions(artifact.record, artifact.path, before=artifact.id).first())
        return _artifact(found) if found is not None and found.stored else None

    async def latest(self, record: str, paths: Collection[str]) -> Mapping[str, Artifact]:
        """See `ArtifactStore.latest`."""

        def work() -> list[Any]:
            found: list[Any] = []
            for some in batches([hash_of(record, path) for path in paths]):
                rows = _rows().exclude(kind=FileKind.SKIPPED.value).filter(history__in=some).order_by()
                newest = rows.values("history").annotate(newest=models.Max("pk")).values("newest")
                found += _rows().filter(pk__in=newest)
            return found

        return {row.path: _artifact(row) for row in await self._run(work)}

    async def expect(self, due: Due, *, look_after: float) -> None:
        """See `ArtifactStore.expect`."""
        values = due_columns(due, look_after)

        def work() -> None:
            key = values["message_hash"]
            if not _due_rows().filter(pk=key).update(**values):
                _due_rows().create(**values)

        with suppress(IntegrityError):  # another one has just written the same
            await self._write(work)

    async def find_due(self, message: str) -> Due | None:
        """See `ArtifactStore.find_due`."""
        found = await self._run(lambda: _due_rows().filter(pk=hash_of(message)).first())
        return None if found is None else _due(found)

    async def due(self, *, look_after: float, limit: int = 100) -> Sequence[Due]:
        """See `ArtifactStore.due`. It is asked in all tenants."""

        def work() -> list[Due]:
            found = []
            for tenant in all_tenants():
                with inside(tenant):
                    rows = list(_due_rows().filter(look_at__lte=now()).order_by("look_at")[:limit])
                    later = now() + round(look_after * 1000)
                    for row in rows:
                        if _due_rows().filter(pk=row.pk, look_at=row.look_at).update(look_at=later):
                            found.append(_due(row))  # noqa: PERF401 - each is written first
            return found

        return await self._run(work)

    async def due_of(self, record: str) -> Sequence[Due]:
        """See `ArtifactStore.due_of`."""
        rows = await self._run(
            lambda: list(_due_rows().filter(record_hash=hash_of(record)).order_by("look_at"))
        )
        return [_due(row) for row in rows]

    async def records(self) -> Sequence[str]:
        """See `ArtifactStore.records`."""
        firsts = _rows().order_by().values("record_hash").annotate(first=models.Min("pk")).values("first")
        return await self._run(lambda: sorted(_rows().filter(pk__in=firsts).values_list("record", flat=True)))

    async def _find(self, artifact_id: str) -> ArtifactRow | None:
        found = await self._run(lambda: _rows().filter(artifact_id=artifact_id).first())
        return None if found is None else (_artifact(found), found.stored.name or "")

    async def _insert(self, rows: Sequence[ArtifactRow], *, clear: str | None) -> bool:
        def work() -> bool:
            if clear is not None and not _due_rows().filter(pk=hash_of(clear)).delete()[0]:
                return False
            _rows().bulk_create([_artifact_model()(**columns_of(*row)) for row in rows])
            return True

        return await self._write(work)

    async def _wait_for_attach(self, message: str) -> None:
        await self._write(lambda: _due_rows().filter(pk=hash_of(message)).select_for_update().first())

    async def _known(self, places: Sequence[str]) -> Collection[str]:
        return await self._among("place", places)

    async def _remove(self, *, record: str | None = None, message: str | None = None) -> Sequence[str]:
        which = {"record_hash": hash_of(record)} if record is not None else {}
        which = which or {"message_hash": hash_of(message or "")}

        return await self._write(lambda: remove_rows(**which))

    async def _named(self, names: Sequence[str]) -> Collection[str]:
        return await self._among("stored", names)

    async def _among(self, column: str, values: Sequence[str]) -> set[str]:
        def work() -> set[str]:
            found: set[str] = set()
            for some in batches(values):
                found.update(_rows().filter(**{f"{column}__in": some}).values_list(column, flat=True))
            return found

        return await self._run(work)

    async def _select(self, **which: Any) -> Sequence[Artifact]:
        rows = await self._run(lambda: list(_rows().filter(**which)))
        return sorted(map(_artifact, rows), key=lambda artifact: artifact.path)

    async def _write(self, work: Callable[[], T]) -> T:
        """Write in one transaction."""

        def once() -> T:
            with transaction.atomic(using=artifacts_database()):
                return work()

        return await self._run(once)

    async def _run(self, work: Callable[[], T]) -> T:
        def here() -> T:
            with borrowed(artifacts_database()):
                return work()

        if self._suspends:
            return await sync_to_async(here, thread_sensitive=True)()
        return here()


def remove_rows(**which: str) -> Sequence[str]:
    """Delete rows in a transaction that is open: what the bytes of theirs are called.

    Args:
        which: `record_hash` or `message_hash`.
    """
    _due_rows().filter(**which).delete()
    rows = _rows().filter(**which)
    names = list(rows.select_for_update().values_list("stored", flat=True))
    rows.delete()
    return names


def _artifact_model() -> type[Any]:
    from opencode_sessions.django.artifacts.models import ArtifactRow  # noqa: PLC0415 - once the apps are there

    return ArtifactRow


def _due_model() -> type[Any]:
    from opencode_sessions.django.artifacts.models import FilesDue  # noqa: PLC0415 - likewise

    return FilesDue


def artifacts_database() -> str:
    """The alias of the database that has the rows."""
    return router.db_for_write(_artifact_model())


def _rows() -> models.QuerySet[Any]:
    return all_rows(_artifact_model(), artifacts_database())


def _due_rows() -> models.QuerySet[Any]:
    return all_rows(_due_model(), artifacts_database())


def _versions(record: str, path: str, *, before: str = "") -> models.QuerySet[Any]:
    rows = _rows().filter(history=hash_of(record, path)).exclude(kind=FileKind.SKIPPED.value).order_by("-pk")
    if before:
        rows = rows.filter(pk__lt=_rows().filter(artifact_id=before).order_by().values("pk")[:1])
    return rows


def _artifact(row: Any) -> Artifact:
    return artifact_of(vars(row))


def _due(row: Any) -> Due:
    return due_of_columns(vars(row))
