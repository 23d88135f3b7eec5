"""Any storage of Django's as a `Storage` of artifacts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, cast

from django.core.files import File
from django.core.files.storage import Storage

from opencode_sessions.files.storage import Stored

__all__ = ["DjangoStorage"]


class DjangoStorage:
    """See `opencode_sessions.files.storage.Storage`.

    Args:
        storage: Of Django's.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def spool(self) -> IO[bytes]:
        """See `Storage.spool`. It is on this machine's disk."""
        return TemporaryFile()

    def store(self, spooled: IO[bytes], name: str) -> str:
        """See `Storage.store`."""
        spooled.seek(0)
        return self._storage.save(f"{name[:2]}/{name}", File(spooled))

    def open(self, name: str, start: int) -> IO[bytes]:
        """See `Storage.open`."""
        file = cast("IO[bytes]", self._storage.open(name, "rb"))
        file.seek(start)
        return file

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        self._storage.delete(name)

    def files(self) -> Iterator[Stored]:
        """See `Storage.files`. It asks for each file."""
        folders: list[str] = []
        with suppress(FileNotFoundError):  # nothing was stored yet
            folders = self._storage.listdir("")[0]
        for folder in folders:
            for each in self._storage.listdir(folder)[1]:
                name = f"{folder}/{each}"
                with suppress(FileNotFoundError):
                    age = time.time() - self._storage.get_modified_time(name).timestamp()
                    yield Stored(name, self._storage.size(name), age)
