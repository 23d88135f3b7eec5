"""Artifacts whose rows are in memory, for tests and experiments. Safe between threads, not between processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from opencode_sessions.files.ports import Artifact, Due, FileKind
from opencode_sessions.files.rows import place_of
from opencode_sessions.files.storage import Storage
from opencode_sessions.files.stored import ArtifactRow, StoredArtifacts

__all__ = ["MemoryArtifactStore"]


class MemoryArtifactStore(StoredArtifacts):
    """An `ArtifactStore` whose rows are in memory.

    Args:
        storage: The storage of the bytes.
        suspends: Whether calls suspend.
    """

    conflict = KeyError

    def __init__(self, storage: Storage, *, suspends: bool = False) -> None:
        super().__init__(storage, suspends=suspends)
        self._rows: list[ArtifactRow] = []
        self._due: dict[str, tuple[Due, float]] = {}
        self._lock = threading.Lock()

    async def list(self, message: str) -> Sequence[Artifact]:
        """See `ArtifactStore.list`."""
        found = self._those(lambda artifact: artifact.message == message)
        return sorted(found, key=lambda artifact: artifact.path)

    async def previous(self, artifact: Artifact) -> Artifact | None:
        """See `ArtifactStore.previous`."""
        before = None
        for each in self._versions(artifact.record, artifact.path):
            if each.id == artifact.id:
                break
            before = each
        return before if before is not None and before.has_content else None

    async def latest(self, record: str, paths: Collection[str]) -> Mapping[str, Artifact]:
        """See `ArtifactStore.latest`."""
        versions = {path: self._versions(record, path) for path in paths}
        return {path: found[-1] for path, found in versions.items() if found}

    async def expect(self, due: Due, *, look_after: float) -> None:
        """See `ArtifactStore.expect`."""
        with self._lock:
            self._due[due.message] = (due, time.monotonic() + look_after)

    async def find_due(self, message: str) -> Due | None:
        """See `ArtifactStore.find_due`."""
        with self._lock:
            return self._due[message][0] if message in self._due else None

    async def due(self, *, look_after: float, limit: int = 100) -> Sequence[Due]:
        """See `ArtifactStore.due`."""
        now = time.monotonic()
        with self._lock:
            found = [due for due, after in self._due.values() if after <= now][:limit]
            self._due.update({due.message: (due, now + look_after) for due in found})
        return found

    async def due_of(self, record: str) -> Sequence[Due]:
        """See `ArtifactStore.due_of`."""
        with self._lock:
            return [due for due, _ in self._due.values() if due.record == record]

    async def records(self) -> Sequence[str]:
        """See `ArtifactStore.records`."""
        return sorted({artifact.record for artifact in self._those(lambda _: True)})

    async def _find(self, artifact_id: str) -> ArtifactRow | None:
        with self._lock:
            return next((row for row in self._rows if row[0].id == artifact_id), None)

    async def _insert(self, rows: Sequence[ArtifactRow], *, clear: str | None) -> bool:
        with self._lock:
            if not self._places().isdisjoint(place_of(artifact) for artifact, _ in rows):
                raise self.conflict
            if clear is not None and self._due.pop(clear, None) is None:
                return False
            self._rows += rows
            return True

    async def _wait_for_attach(self, message: str) -> None:
        """Nothing breaks while the lock is held."""

    async def _known(self, places: Sequence[str]) -> Collection[str]:
        with self._lock:
            return self._places() & set(places)

    def _places(self) -> set[str]:
        return {place_of(artifact) for artifact, _ in self._rows}

    async def _remove(self, *, record: str | None = None, message: str | None = None) -> Sequence[str]:
        with self._lock:
            gone = [row for row in self._rows if record == row[0].record or message == row[0].message]
            self._rows = [row for row in self._rows if row not in gone]
            for key, (due, _) in list(self._due.items()):
                if record == due.record or message == due.message:
                    del self._due[key]
        return [name for _, name in gone]

    async def _named(self, names: Sequence[str]) -> Collection[str]:
        with self._lock:
            return {name for _, name in self._rows} & set(names)

    def _versions(self, record: str, path: str) -> Sequence[Artifact]:
        return self._those(
            lambda each: (each.record, each.path) == (record, path) and each.kind is not FileKind.SKIPPED
        )

    def _those(self, fit: Callable[[Artifact], bool]) -> Sequence[Artifact]:
        with self._lock:
            return [artifact for artifact, _ in self._rows if fit(artifact)]
