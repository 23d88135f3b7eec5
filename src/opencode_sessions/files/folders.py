"""A record's folder, as whoever collects its files needs it: on this machine's disk, or the server's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

from opencode_sessions.files.manifest import Manifest, take_manifest
from opencode_sessions.files.safe_open import Folder
from opencode_sessions.runtime.ports import Clock

__all__ = ["DiskFolder", "RecordFolder"]


class RecordFolder(Protocol):
    """A record's folder."""

    async def manifest(self, *, most: int, depth: int) -> Manifest | None:
        """What is in it now; None if that cannot be told."""

    def read(self, path: str, *, limit: int) -> AsyncIterator[bytes]:
        """The bytes of a file in it.

        Raises:
            FileRefusedError: It is no regular file, or is larger than `limit` bytes.
        """

    async def close(self) -> None:
        """Nothing more is read."""


class DiskFolder:
    """One on this machine's disk; nobody but its caller waits for the disk.

    Args:
        folder: Open; it is closed by `close`.
        clock: By which the disk is waited for.
    """

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    async def manifest(self, *, most: int, depth: int) -> Manifest | None:
        """See `RecordFolder.manifest`."""
        return await self._clock.call(partial(take_manifest, self._folder, most=most, depth=depth))

    async def read(self, path: str, *, limit: int) -> AsyncIterator[bytes]:
        """See `RecordFolder.read`."""
        pieces = self._folder.read(path, limit=limit)
        try:
            while (piece := await self._clock.call(partial(next, pieces, None))) is not None:
                yield piece
        finally:
            pieces.close()

    async def close(self) -> None:
        """See `RecordFolder.close`."""
        self._folder.close()
