"""The storage of artifacts' bytes: a folder, any file system of fsspec, or a framework's storage.

A storage gets a complete file and gives it a name. It never replaces or changes a file. It blocks; stores of the async
API call it in a thread.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
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
        name: Its name in the storage.
        size: The size in bytes.
        age: The age in seconds; infinite if the storage does not tell.
    """

    name: str
    size: int
    age: float


class Storage(Protocol):
    """The storage of artifacts' bytes."""

    def spool(self) -> IO[bytes]:
        """A new temporary file, which is deleted when it is closed."""

    def store(self, spooled: IO[bytes], name: str) -> str:
        """Store a spooled file under this name or a similar one, and return the name."""

    def open(self, name: str, start: int) -> IO[bytes]:
        """Open a file, at the byte `start`.

        Raises:
            FileNotFoundError: There is no file with this name.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def files(self) -> Iterator[Stored]:
        """All files."""


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file in pieces; then it is closed."""
    with file:
        while piece := file.read(PIECE):
            yield piece


class FolderStorage:
    """A folder on this machine's disk, or one that all machines mount.

    Args:
        root: A directory without other use, which no agent can reach. It is created, with mode 0700, if it does not
            exist.

    Raises:
        ConfigurationError: The path is relative.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        require(self._root.is_absolute(), "the folder of artifacts must be an absolute path", str(root))

    def spool(self) -> IO[bytes]:
        """See `Storage.spool`. The file is in the same folder, so that storing it needs no copy."""
        new = self._path(_NEW).parent  # as that of any other name: `remove` finds what a process left there
        new.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=new, prefix=_NEW)

    def store(self, spooled: IO[bytes], name: str) -> str:
        """See `Storage.store`."""
        spooled.flush()
        path = self._path(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        os.link(spooled.name, path)  # never replaces a file
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
        """See `Storage.files`. It includes files that a process was writing when it died."""
        for path in sorted(self._root.glob("*/*")):
            with suppress(FileNotFoundError):
                found = path.stat()
                yield Stored(path.name, found.st_size, time.time() - found.st_mtime)

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name


class FsspecStorage:
    """A folder in any file system of fsspec, such as a bucket of S3.

    ::

        FsspecStorage(fsspec.filesystem("s3"), "my-bucket/artifacts")

    Args:
        files: The file system, not one made for asyncio (`asynchronous=True`).
        folder: The folder in it, without other use.
    """

    def __init__(self, files: Any, folder: str) -> None:
        require(hasattr(files, "find"), "files must be a file system of fsspec's", files)
        self._files = files
        self._folder = folder.rstrip("/")

    def spool(self) -> IO[bytes]:
        """See `Storage.spool`. The file is on this machine's disk."""
        return tempfile.TemporaryFile()

    def store(self, spooled: IO[bytes], name: str) -> str:
        """See `Storage.store`. The file is copied in pieces."""
        copy_to(self._files, spooled, f"{self._folder}/{name}")
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
        for path, found in listed(self._files, self._folder):
            yield Stored(path.rpartition("/")[2], found["size"] or 0, age_of(found))


def copy_to(files: Any, spooled: IO[bytes], path: str) -> None:
    """Copy a spooled file to a path of an fsspec file system, in pieces. If that fails, nothing is left there."""
    spooled.seek(0)
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    try:
        with files.open(path, "wb") as file:
            shutil.copyfileobj(spooled, file, 4 * PIECE)
    except BaseException:
        with suppress(Exception):  # the first error counts
            files.rm_file(path)
        raise


def listed(files: Any, folder: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """The files below a folder of an fsspec file system, with their details.

    The listing is not cached: `open` would then not find the files that other processes write afterwards.
    """
    files.invalidate_cache()
    try:
        return list(files.find(folder, detail=True).items())
    except FileNotFoundError:
        return []
    finally:
        files.invalidate_cache()


def age_of(found: dict[str, Any]) -> float:
    """How old a file of an fsspec file system is, in seconds; 0 if that is unknown, so that it counts as new.

    File systems have different names for the time of the last change.
    """
    names = "mtime", "LastModified", "last_modified", "modified", "created"
    when = next((found[name] for name in names if found.get(name)), None)
    if isinstance(when, datetime):
        when = when.timestamp()
    return time.time() - when if isinstance(when, int | float) else 0.0
