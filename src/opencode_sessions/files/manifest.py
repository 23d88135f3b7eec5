"""What is in a record's folder: taken before a turn and after it, it says what a shell's commands have changed.

The one from before is kept until the turn's files are collected. If the record's next turn begins earlier than that,
the one from before that turn is kept as well: what changed between the two is the earlier turn's.

A file counts as changed if its size, its times or its inode is another. The change time is the kernel's own: no
command can set it back, as it can the modification time.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from opencode_sessions.files.safe_open import Folder
from opencode_sessions.texts import later

__all__ = ["Manifest", "Stamp", "load_manifest", "stamp_of", "store_manifest", "take_manifest"]

_KINDS = {
    stat.S_IFLNK: later("it is a link"),
    stat.S_IFIFO: later("it is a pipe"),
    stat.S_IFSOCK: later("it is a socket"),
    stat.S_IFCHR: later("it is a device"),
    stat.S_IFBLK: later("it is a device"),
}


class Stamp(NamedTuple):
    """The state of a file.

    Attributes:
        size: The size in bytes.
        modified: The modification time, in nanoseconds since 1970.
        changed: The kernel's change time, likewise.
        inode: The inode number.
        reason: The reason why it is never read, if it is not a regular file; else empty.
    """

    size: int
    modified: int
    changed: int
    inode: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a folder.

    Attributes:
        files: The states by path, including links and other special files.
        left_out: How many files or folders were not checked, because there are too many or they are too deep.
    """

    files: Mapping[str, Stamp]
    left_out: int = 0

    def differing(self, before: Manifest) -> Iterator[str]:
        """The sorted paths that are new or have changed, and those that are missing now."""
        for path in sorted(self.files.keys() | before.files.keys()):
            if self.files.get(path) != before.files.get(path):
                yield path


def take_manifest(folder: Folder, *, most: int, depth: int) -> Manifest:
    """Take the manifest of a folder.

    Args:
        folder: The folder.
        most: How many files at most.
        depth: How many folders deep at most.
    """
    files: dict[str, Stamp] = {}
    left_out = 0
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        try:
            for name, found in folder.list(parts):
                here = (*parts, name)
                if stat.S_ISDIR(found.st_mode) and len(here) < depth:
                    waiting.append(here)
                elif stat.S_ISDIR(found.st_mode) or len(files) >= most:
                    left_out += 1
                else:
                    files["/".join(here)] = _stamp(found)
        except FileNotFoundError:
            continue  # it was just removed
        except OSError:
            left_out += 1  # it cannot be read, or was just replaced
    return Manifest(files, left_out)


def stamp_of(folder: Folder, path: str) -> Stamp | None:
    """The state of one file; None if it is not there."""
    with suppress(OSError):
        return _stamp(folder.look(path))
    return None


def _stamp(found: os.stat_result) -> Stamp:
    reason = _KINDS.get(stat.S_IFMT(found.st_mode), "")
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, reason)


def store_manifest(path: Path, manifest: Manifest) -> None:
    """Keep a manifest until its file is removed, whatever happens to this process."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    value = {"left_out": manifest.left_out, "files": manifest.files}
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="ascii") as file:
        try:
            json.dump(value, file)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def load_manifest(path: Path) -> Manifest | None:
    """The one that was stored there; None if there is none."""
    try:
        value = json.loads(path.read_bytes())
        files = {name: Stamp(*stamp) for name, stamp in value["files"].items()}
        return Manifest(files, value["left_out"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
