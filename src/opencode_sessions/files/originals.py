"""Stores for files as people sent them: a folder, or any fsspec file system. Each record has a folder in it.

They block: the async API calls them in a thread.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from opencode_sessions.files.safe_open import PIECE
from opencode_sessions.files.storage import age_of, copy_to, listed
from opencode_sessions.validation import require

__all__ = ["ID", "FolderOriginals", "FsspecOriginals", "Originals"]

ID = re.compile(r"[0-9a-f]{32}")
"""The names of folders and files: a record's `opencode_uid`, and a random name."""


class Originals(Protocol):
    """A store for unchanged files. A file is named by its record's `opencode_uid` and a name of its own."""

    def spool(self, uid: str) -> IO[bytes]:
        """A new file to write in, which vanishes when it is closed."""

    def keep(self, spooled: IO[bytes], uid: str, name: str) -> None:
        """Keep what was written in a spooled file. There is none of this name."""

    def open(self, uid: str, name: str) -> BinaryIO:
        """Open a file.

        Raises:
            OSError: It is not there, or cannot be read.
        """

    def remove(self, uid: str, name: str) -> None:
        """Remove a file, if it is there."""

    def sizes(self, uid: str) -> list[int]:
        """How many bytes each file of a record has."""

    def remove_all(self, uid: str) -> None:
        """Remove all files of a record."""

    def ages(self) -> Mapping[str, float]:
        """Of each record that has files: how many seconds ago one of them was last written."""


class FolderOriginals:
    """A folder on this machine's disk, or one that all machines mount.

    Args:
        root: An absolute path, which no agent works in. It is made when it is needed.

    Raises:
        ConfigurationError: It is relative.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        require(self.root.is_absolute(), "the folder of Uploads must be an absolute path", str(root))

    def spool(self, uid: str) -> IO[bytes]:
        """See `Originals.spool`. It is in the same folder, so keeping it copies nothing."""
        folder = self.root / uid
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=folder)

    def keep(self, spooled: IO[bytes], uid: str, name: str) -> None:
        """See `Originals.keep`."""
        spooled.flush()
        os.link(spooled.name, self.root / uid / name)

    def open(self, uid: str, name: str) -> BinaryIO:
        """See `Originals.open`."""
        return (self.root / uid / name).open("rb")

    def remove(self, uid: str, name: str) -> None:
        """See `Originals.remove`."""
        (self.root / uid / name).unlink(missing_ok=True)

    def sizes(self, uid: str) -> list[int]:
        """See `Originals.sizes`."""
        with suppress(FileNotFoundError):
            return [each.stat().st_size for each in os.scandir(self.root / uid) if ID.fullmatch(each.name)]
        return []

    def remove_all(self, uid: str) -> None:
        """See `Originals.remove_all`."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / uid)

    def ages(self) -> Mapping[str, float]:
        """See `Originals.ages`."""
        now = time.time()
        with suppress(FileNotFoundError):
            return {each.name: now - each.stat().st_mtime for each in os.scandir(self.root)}
        return {}


class FsspecOriginals:
    """A folder of any file system of fsspec's, such as a bucket of S3's.

    ::

        Uploads(FsspecOriginals(fsspec.filesystem("s3"), "my-bucket/uploads"))

    Args:
        files: The file system, not one made for asyncio (`asynchronous=True`).
        folder: Where in it; for this alone.
    """

    def __init__(self, files: Any, folder: str) -> None:
        require(hasattr(files, "find"), "files must be a file system of fsspec's", files)
        self._files = files
        self._folder = folder.rstrip("/")

    def spool(self, uid: str) -> IO[bytes]:  # noqa: ARG002 - the port's
        """See `Originals.spool`. It is on this machine's disk."""
        return tempfile.TemporaryFile()

    def keep(self, spooled: IO[bytes], uid: str, name: str) -> None:
        """See `Originals.keep`. It is copied in pieces."""
        copy_to(self._files, spooled, f"{self._folder}/{uid}/{name}")

    def open(self, uid: str, name: str) -> BinaryIO:
        """See `Originals.open`."""
        return cast("BinaryIO", self._files.open(f"{self._folder}/{uid}/{name}", "rb", block_size=4 * PIECE))

    def remove(self, uid: str, name: str) -> None:
        """See `Originals.remove`."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._folder}/{uid}/{name}")

    def sizes(self, uid: str) -> list[int]:
        """See `Originals.sizes`."""
        return [found["size"] or 0 for _, found in self._found(uid)]

    def remove_all(self, uid: str) -> None:
        """See `Originals.remove_all`."""
        with suppress(FileNotFoundError):
            self._files.rm(f"{self._folder}/{uid}", recursive=True)

    def ages(self) -> Mapping[str, float]:
        """See `Originals.ages`."""
        youngest: dict[str, float] = {}
        for path, found in self._found():
            uid = path.rpartition("/")[0].rpartition("/")[2]
            youngest[uid] = min(age_of(found), youngest.get(uid, float("inf")))
        return youngest

    def _found(self, *below: str) -> Iterable[tuple[str, dict[str, Any]]]:
        return listed(self._files, "/".join([self._folder, *below]))
