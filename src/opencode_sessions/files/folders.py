"""A record's folder for the collection of its files: on this machine's disk, or on the server's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol

from opencode_sessions.errors import BadRequestError, NotFoundError, ServerError
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.manifest import Manifest, Stamp, stamp_of, take_manifest
from opencode_sessions.files.safe_open import Folder, parts_of
from opencode_sessions.runtime.ports import Clock
from opencode_sessions.turns.ports import TurnWire

__all__ = ["DiskFolder", "RecordFolder", "ServerFolder"]


class RecordFolder(Protocol):
    """A record's folder."""

    async def manifest(self, *, most: int, depth: int) -> Manifest | None:
        """The present manifest of the folder; None if it cannot be taken."""

    def read(self, path: str, *, limit: int) -> AsyncIterator[bytes]:
        """The bytes of a file in it.

        Raises:
            FileRefusedError: It is not a regular file, or is larger than `limit` bytes.
        """

    async def stamp(self, path: str) -> Stamp | None:
        """The state of a file in it, as its manifest would have it now; None if that cannot be told."""

    async def close(self) -> None:
        """End the reading."""


class DiskFolder:
    """A folder on this machine's disk. Only its caller waits for the disk.

    Args:
        folder: The open folder; `close` closes it.
        clock: The clock that runs blocking calls.
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

    async def stamp(self, path: str) -> Stamp | None:
        """See `RecordFolder.stamp`."""
        return await self._clock.call(partial(stamp_of, self._folder, path))

    async def close(self) -> None:
        """See `RecordFolder.close`."""
        self._folder.close()


class ServerFolder:
    """A folder on the server's disk, read through the server's API.

    The server follows links that stay in the session's directory, for example to another record's folder. So each part
    of a path must appear in a listing, which has no links. An agent that still works could put a link there between the
    listing and the reading. With a shared disk, `DiskFolder` has no such gap.

    Args:
        wire: The server.
        directory: The session's directory.
        name: The folder in it.
    """

    def __init__(self, wire: TurnWire, directory: str, name: str) -> None:
        self._wire = wire
        self._directory = directory
        self._name = name
        self._listed: dict[str, Mapping[str, str]] = {}

    async def manifest(self, *, most: int, depth: int) -> Manifest | None:  # noqa: ARG002 - the port's
        """See `RecordFolder.manifest`. The server returns only names."""
        return None

    async def read(self, path: str, *, limit: int) -> AsyncIterator[bytes]:
        """See `RecordFolder.read`."""
        await self._check(path)
        left = limit
        pieces = self._wire.read_file(f"{self._name}/{path}", directory=self._directory)
        try:
            async with aclosing(pieces) as closed:  # type: ignore[type-var]  # it is a generator
                async for piece in closed:
                    left -= len(piece)
                    if left < 0:
                        raise FileRefusedError(path, f"it is larger than {limit:,} bytes")
                    yield piece
        except (ServerError, NotFoundError, BadRequestError) as error:
            raise FileRefusedError(path, "the server does not give it") from error

    async def stamp(self, path: str) -> Stamp | None:  # noqa: ARG002 - the port's
        """See `RecordFolder.stamp`. The server tells none."""
        return None

    async def _check(self, path: str) -> None:
        *folders, last = (self._name, *parts_of(path))
        for number, name in enumerate(folders):
            if (await self._list("/".join(folders[:number]))).get(name) != "directory":
                raise FileRefusedError(path, "what leads to it is a link, or no folder")
        if (await self._list("/".join(folders))).get(last) != "file":
            raise FileRefusedError(path, "it is gone, is a link, or is no regular file")

    async def _list(self, folder: str) -> Mapping[str, str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = await self._wire.list_files(folder, directory=self._directory)
            except (ServerError, NotFoundError, BadRequestError):
                self._listed[folder] = {}
        return self._listed[folder]

    async def close(self) -> None:
        """See `RecordFolder.close`."""
