"""Where the bytes of artifacts are: a folder, any file system of fsspec's, or what a framework has.

A storage is given a file that is whole and gives it a name; it replaces none and changes none. It blocks: stores of
the async API call it in a thread.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from opencode_sessions.files.safe_open import PIECE
from opencode_sessions.validation import require

__all__ = ["FolderStorage", "FsspecStorage", "Storage", "Stored", "age_of", "pieces_of"]


_NEW = "new-"
"""How the names of files begin that are being written."""


class Stored(NamedTuple):
    """A file in a storage.

    Attributes:
        name: What it is called there.
        size: In bytes.
        age: In seconds; infinite if the storage does not say.
    """

    name: str
    size: int
    age: float


class Storage(Protocol):
    """Where the bytes of artifacts are."""

    def spool(self) -> IO[bytes]:
        """A new file to write in, which vanishes when it is closed."""

    def store(self, spooled: IO[bytes], name: str) -> str:
        """Keep what was written in a spooled file, under this name or one that is like it: which one."""

    def open(self, name: str, start: int) -> IO[bytes]:
        """Open a file, at the byte `start`.

        Raises:
            FileNotFoundError: There is none of this name.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def files(self) -> Iterator[Stored]:
        """All that are there."""


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """What a file holds from here on, in pieces; it is closed then."""
    with file:
        while piece := file.read(PIECE):
            yield piece


class FolderStorage:
    """A folder on this machine's disk, or one that all machines mount.

    Args:
        root: A directory for this alone, where no agent works. It is made, with mode 0700, if it is not there.

    Raises:
        ConfigurationError: It is relative.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        require(self._root.is_absolute(), "the folder of artifacts must be an absolute path", str(root))

    def spool(self) -> IO[bytes]:
        """See `Storage.spool`. It is in the same folder, so keeping it copies nothing."""
        new = self._path(_NEW).parent  # as that of any other name: `remove` finds what a process left there
        new.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=new, prefix=_NEW)

    def store(self, spooled: IO[bytes], name: str) -> str:
        """See `Storage.store`."""
        spooled.flush()
        path = self._path(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        os.link(spooled.name, path)  # never over another one
        return name

    def open(self, name: str, start: int) -> IO[bytes]:
        """See `Storage.open`."""
        file = self._path(name).open("rb", buffering=0)
        file.seek(start)
        return file

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        self._path(name).unlink(missing_ok=True)

    def files(self) -> Iterator[Stored]:
        """See `Storage.files`. What a process was writing when it died is among them."""
        for path in sorted(self._root.glob("*/*")):
            with suppress(FileNotFoundError):
                found = path.stat()
                yield Stored(path.name, found.st_size, time.time() - found.st_mtime)

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name


class FsspecStorage:
    """A folder of any file system of fsspec's, such as a bucket of S3's.

    ::

        FsspecStorage(fsspec.filesystem("s3"), "my-bucket/artifacts")

    Args:
        files: The file system, not one made for asyncio (`asynchronous=True`).
        folder: Where in it; for this alone.
    """

    def __init__(self, files: Any, folder: str) -> None:
        require(hasattr(files, "find"), "files must be a file system of fsspec's", files)
        self._files = files
        self._folder = folder.rstrip("/")

    def spool(self) -> IO[bytes]:
        """See `Storage.spool`. It is on this machine's disk."""
        return tempfile.TemporaryFile()

    def store(self, spooled: IO[bytes], name: str) -> str:
        """See `Storage.store`. It is copied in pieces."""
        spooled.seek(0)
        self._files.makedirs(self._folder, exist_ok=True)
        with self._files.open(f"{self._folder}/{name}", "wb") as file:
            shutil.copyfileobj(spooled, file, 4 * PIECE)
        return name

    def open(self, name: str, start: int) -> IO[bytes]:
        """See `Storage.open`."""
        file: IO[bytes] = self._files.open(f"{self._folder}/{name}", "rb", block_size=4 * PIECE)
        file.seek(start)
        return file

    def remove(self, name: str) -> None:
        """See `Storage.remove`."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._folder}/{name}")

    def files(self) -> Iterator[Stored]:
        """See `Storage.files`."""
        self._files.invalidate_cache()
        for path, found in self._files.find(self._folder, detail=True).items():
            yield Stored(path.rpartition("/")[2], found["size"] or 0, age_of(found))


def age_of(found: dict[str, Any]) -> float:
    """How old a file of fsspec's is, in seconds: file systems call the time of its last change by different names."""
    when = (
        found.get("mtime") or found.get("LastModified") or found.get("last_modified") or found.get("created")
    )
    if isinstance(when, datetime):
        when = when.timestamp()
    return time.time() - when if isinstance(when, int | float) else float("inf")
