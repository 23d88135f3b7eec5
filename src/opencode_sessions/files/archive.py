"""Several files as one zip, made while it is sent, without whole files in memory or copies on disk."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from io import RawIOBase
from pathlib import PurePosixPath
from typing import Any

from opencode_sessions.files.message_files import MessageFile, MessageFiles

__all__ = ["archive", "archived_paths"]

_NO_TIME = (1980, 1, 1, 0, 0, 0)


async def archive(files: MessageFiles, chosen: Iterable[MessageFile]) -> AsyncIterator[bytes]:
    """A zip of these files, in pieces. It is not compressed.

    Raises:
        FileError: The bytes of a file are missing. The zip then ends early.
    """
    sink = _Sink()
    kept = [each for each in chosen if each.has_content]
    with zipfile.ZipFile(sink, "w") as zipped:
        for file, path in zip(kept, archived_paths(kept), strict=True):
            info = zipfile.ZipInfo(path, _NO_TIME)
            info.external_attr = 0o600 << 16
            with zipped.open(info, "w", force_zip64=True) as entry:
                async for piece in await files.open(file):
                    entry.write(piece)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


def archived_paths(files: Sequence[MessageFile]) -> list[str]:
    """The files' names in a zip: unique, and never outside of the folder into which it is unpacked."""
    known: set[str] = set()
    paths = []
    for file in files:
        parts = ["".join(filter(str.isprintable, each)) for each in PurePosixPath(file.path).parts]
        path = "/".join(
            each.replace("\\", "_").replace(":", "_") for each in parts if each not in ("", "/", "..", ".")
        )
        path = path or "file"
        while path.lower() in known:
            path = f"_{path}"
        known.add(path.lower())
        paths.append(path)
    return paths


class _Sink(RawIOBase):
    """A write-only file whose bytes are taken out again."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
