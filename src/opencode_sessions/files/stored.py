"""The common part of all stores of artifacts: bytes in a `Storage`, and rows in a database."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from opencode_sessions.files.errors import ArtifactGoneError
from opencode_sessions.files.ports import Artifact, Content, Due, LeftOver
from opencode_sessions.files.rows import place_of
from opencode_sessions.files.storage import Storage, pieces_of

__all__ = ["ArtifactRow", "StoredArtifacts"]

T = TypeVar("T")

ArtifactRow = tuple[Artifact, str]
"""An artifact, and the name of its bytes; empty if it has none."""

_HEAD = 8_192
_TRIES = 5


class StoredArtifacts(ABC):
    """An `ArtifactStore` whose subclass stores the rows.

    Args:
        storage: The storage of the bytes.
        suspends: Whether calls suspend; the storage is then used in threads.

    Attributes:
        conflict: The database's error if a row exists already.
    """

    conflict: type[Exception]

    def __init__(self, storage: Storage, *, suspends: bool) -> None:
        self.storage = storage
        self._suspends = suspends

    async def put(self, artifact: Artifact, content: AsyncIterator[bytes]) -> bool:
        """See `ArtifactStore.put`."""
        saved = await self.save(content)
        row = (replace(artifact, size=saved.size, sha256=saved.sha256, id=_new_id()), saved.name)
        written = await self._add([row])  # if this raises, the row may be there, so its bytes stay
        if not written:
            await self.discard(saved.name)
        return bool(written)

    async def save(self, content: AsyncIterator[bytes]) -> Content:
        """See `ArtifactStore.save`."""
        digest, size, head = hashlib.sha256(), 0, b""
        with await self._do(self.storage.spool) as spooled:
            async for piece in content:
                spooled.write(piece)
                digest.update(piece)
                size += len(piece)
                if len(head) < _HEAD:
                    head += piece[: _HEAD - len(head)]
            name = await self._do(partial(self.storage.store, spooled, _new_id()))
        return Content(name, size, digest.hexdigest(), head)

    async def read(self, content: Content) -> AsyncIterator[bytes]:
        """See `ArtifactStore.read`."""
        async for piece in self._pieces(content.name, 0):
            yield piece

    async def open(self, artifact_id: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """See `ArtifactStore.open`."""
        found = await self._find(artifact_id)
        if found is None or not found[1]:
            raise ArtifactGoneError(
                f"there is no artifact {artifact_id!r} with content", artifact_id=artifact_id
            )
        try:
            async for piece in self._pieces(found[1], start):
                yield piece
        except FileNotFoundError as error:
            raise ArtifactGoneError(
                f"the bytes of the artifact {artifact_id!r} ({found[0].path!r}) are gone from the store",
                artifact_id=artifact_id,
            ) from error

    async def _pieces(self, name: str, start: int) -> AsyncIterator[bytes]:
        pieces = pieces_of(await self._do(partial(self.storage.open, name, start)))
        try:
            while (piece := await self._do(partial(next, pieces, None))) is not None:
                yield piece
        finally:
            await self._do(pieces.close)  # type: ignore[attr-defined]  # a generator

    async def discard(self, name: str) -> None:
        """See `ArtifactStore.discard`."""
        await self._do(partial(self.storage.remove, name))

    async def attach(self, message: str, artifacts: Sequence[tuple[Artifact, Content | None]]) -> bool:
        """See `ArtifactStore.attach`."""
        rows = [
            (replace(artifact, id=_new_id()), content.name if content is not None else "")
            for artifact, content in artifacts
        ]
        try:
            written = await self._add(rows, clear=message)
        except Exception:
            # The database may have committed and the answer been lost: only the rows can tell.
            await self._wait_for_attach(message)
            await self._discard_unnamed([name for _, name in rows if name])
            raise
        for artifact, name in rows:
            if name and artifact.path not in (written or ()):
                await self.discard(name)
        return written is not None

    async def _discard_unnamed(self, names: Sequence[str]) -> None:
        named = await self._named(names)
        for name in names:
            if name not in named:
                await self.discard(name)

    async def find(self, artifact_id: str) -> Artifact | None:
        """See `ArtifactStore.find`."""
        found = await self._find(artifact_id)
        return None if found is None else found[0]

    async def delete(self, record: str) -> int:
        """See `ArtifactStore.delete`."""
        return await self._delete(record=record)

    async def delete_of_message(self, message: str) -> int:
        """See `ArtifactStore.delete_of_message`."""
        return await self._delete(message=message)

    async def _delete(self, **which: str) -> int:
        names = await self._remove(**which)
        for name in filter(None, names):
            await self.discard(name)
        return len(names)

    async def left_over(self, *, older_than: float = 3_600.0) -> Sequence[LeftOver]:
        """See `ArtifactStore.left_over`."""
        old = [each for each in await self._do(lambda: list(self.storage.files())) if each.age > older_than]
        named = await self._named([each.name for each in old])
        return [LeftOver(each.name, each.size) for each in old if each.name not in named]

    async def _add(self, rows: Sequence[ArtifactRow], *, clear: str | None = None) -> Collection[str] | None:
        """Write rows, except those that exist already.

        Returns:
            The paths that were written. None if the message `clear` had no due mark.
        """
        known: Collection[str] = ()
        for last in (*[False] * _TRIES, True):
            new = [row for row in rows if place_of(row[0]) not in known]
            try:
                written = await self._insert(new, clear=clear)
            except self.conflict:
                if last:
                    raise
                known = await self._known([place_of(artifact) for artifact, _ in rows])
                continue
            return {artifact.path for artifact, _ in new} if written else None
        raise AssertionError  # the last attempt has returned or raised

    async def _do(self, work: Callable[[], T]) -> T:
        """The result of a call of the storage."""
        return await asyncio.to_thread(work) if self._suspends else work()

    # The rows.

    @abstractmethod
    async def list(self, message: str) -> Sequence[Artifact]:
        """See `ArtifactStore.list`."""

    @abstractmethod
    async def previous(self, artifact: Artifact) -> Artifact | None:
        """See `ArtifactStore.previous`."""

    @abstractmethod
    async def latest(self, record: str, paths: Collection[str]) -> Mapping[str, Artifact]:
        """See `ArtifactStore.latest`."""

    @abstractmethod
    async def expect(self, due: Due, *, look_after: float) -> None:
        """See `ArtifactStore.expect`."""

    @abstractmethod
    async def find_due(self, message: str) -> Due | None:
        """See `ArtifactStore.find_due`."""

    @abstractmethod
    async def due(self, *, look_after: float, limit: int = 100) -> Sequence[Due]:
        """See `ArtifactStore.due`."""

    @abstractmethod
    async def due_of(self, record: str) -> Sequence[Due]:
        """See `ArtifactStore.due_of`."""

    @abstractmethod
    async def records(self) -> Sequence[str]:
        """See `ArtifactStore.records`."""

    @abstractmethod
    async def _find(self, artifact_id: str) -> ArtifactRow | None:
        """The row with this id."""

    @abstractmethod
    async def _insert(self, rows: Sequence[ArtifactRow], *, clear: str | None) -> bool:
        """Write rows, and clear the due mark of the message `clear`, in one transaction.

        It writes before it reads, because SQLite would otherwise refuse one of two concurrent calls.

        Returns:
            False if `clear` had no due mark.

        Raises:
            conflict: A message has an artifact with one of these paths already.
        """

    @abstractmethod
    async def _wait_for_attach(self, message: str) -> None:
        """Wait until each transaction that clears what is due of this message has been committed or rolled back.

        A connection can break while the database commits. So this locks the row that says what is due.
        """

    @abstractmethod
    async def _known(self, places: Sequence[str]) -> Collection[str]:
        """The messages and paths (`place_of`) among these that have a row."""

    @abstractmethod
    async def _remove(self, *, record: str | None = None, message: str | None = None) -> Sequence[str]:
        """Delete the rows and due marks of a record or a message, and return the names of their bytes."""

    @abstractmethod
    async def _named(self, names: Sequence[str]) -> Collection[str]:
        """The names among these that rows name."""


def _new_id() -> str:
    return secrets.token_hex(16)
