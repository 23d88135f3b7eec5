"""What files are to the library, and where they are kept.

    the agent writes in the record's folder ─► the turn ends ─► `save` each file's bytes ─► `attach` all rows at once
           ▲ `expect`: that files are due is stored before the prompt is sent     and that files are due is cleared ▲

An artifact is a row: what became of one path in one turn. Its bytes are stored first, under a name of their own, so
a row never names bytes that are not there. A crash in between leaves bytes without a row: `clear_left_over` removes
them. Rows are unique by message and path, and `attach` writes rows only while files are due. So two collectors, or
one that is tried again, attach each file once.

The same rules as for other stores: one short transaction a call, which blocks or suspends; no bytes are read or
written while a transaction is open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opencode_sessions.store.turn_table import TurnJob

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Content",
    "Due",
    "FileInfo",
    "FileKind",
    "FolderLayout",
    "LeftOver",
    "Transform",
    "Vouched",
]


class FolderLayout(StrEnum):
    """How the records' folders lie below the root of a `Sandbox`.

    Attributes:
        OWN: Each record's session works in a directory of its own, which is the record's folder. The server keeps
            36 to 95 MB for each directory until it restarts (1.18.33), with its own catalogue of models.
        SHARED: All sessions work in one directory, the root, and each record has a folder in it. Permission rules keep
            an agent's file tools in the folder; they cannot confine the shell.
    """

    OWN = "own"
    SHARED = "shared"


class FileKind(StrEnum):
    """What became of a path in a turn.

    Attributes:
        UPLOADED: A person gave it, with the prompt.
        CREATED: It was not there before the turn.
        CHANGED: It was, with other content.
        DELETED: It was, and is no more. There are no bytes.
        SKIPPED: There is a file, and it is not kept: the reason says why. There are no bytes.
    """

    UPLOADED = "uploaded"
    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What became of one path in one turn.

    Attributes:
        message: The message's key, as `MessageStore.key` has it: ``"chat_message:7"``.
        record: The key of the record that it belongs to: ``"chat_conversation:3"``.
        path: Relative to the record's folder, with ``/`` between its parts; never absolute, without ``.`` and ``..``.
            Of one that was skipped because it lies outside the folder, what the agent's tool was told. It is the
            agent's text in any case: quote it wherever it is shown.
        kind: What became of it.
        reason: Why it was skipped, in plain English; else empty.
        size: Of its content, in bytes; of one that is skipped, as far as it is known.
        sha256: Of its content, in hex; empty if there is none.
        media_type: By its content and name, such as ``"image/png"``; ``"application/octet-stream"`` if unknown.
        name: What people are shown instead of the path: the name that a person's file had; else empty.
        part_id: The part of the reply that it came from, if one says so; a shell's changes come from none.
        author: The name of the transform that made it, if the host vouches for it; else empty.
        signature: By which `vouched` tells that the host's transform made this very content; else empty.
        id: Names it in the store, once it is there. It is random, so nobody can guess it.
    """

    message: str
    record: str
    path: str
    kind: FileKind
    reason: str = ""
    size: int = 0
    sha256: str = ""
    media_type: str = ""
    name: str = ""
    part_id: str = ""
    author: str = ""
    signature: str = ""
    id: str = ""

    @property
    def has_content(self) -> bool:
        """Are there bytes to be opened?"""
        return self.kind not in (FileKind.DELETED, FileKind.SKIPPED)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that `ArtifactStore.save` has stored, and that no row names yet.

    Attributes:
        name: What the store calls them.
        size: How many they are.
        sha256: Theirs, in hex, computed while they were stored.
        head: The first of them, at most 8 KB: enough to tell the media type.
    """

    name: str
    size: int
    sha256: str
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Due:
    """That a turn's files are to be collected.

    Attributes:
        job: The turn.
        message: The message's key.
        record: The key of its record.
        folder: The name of the record's folder in the sandbox.
    """

    job: TurnJob
    message: str
    record: str
    folder: str


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Bytes in the store that no row names.

    Attributes:
        name: What the store calls them.
        size: How many they are.
    """

    name: str
    size: int


class ArtifactStore(Protocol):
    """Where artifacts are kept: rows in a database, and their bytes in a folder or an object store."""

    # For whoever shows files, and takes those of people.

    async def put(self, artifact: Artifact, content: AsyncIterator[bytes]) -> bool:
        """Store one file: its bytes first, then its row.

        Args:
            artifact: Its `size` and `sha256` are computed here, and its `id` is given here.
            content: Its bytes, in pieces. They are streamed: the file is never in memory as a whole.

        Returns:
            False if the message has an artifact of this path already: that one stays as it is.
        """

    async def list(self, message: str) -> Sequence[Artifact]:
        """The artifacts of a message, by path; those that were skipped, too."""

    async def find(self, artifact_id: str) -> Artifact | None:
        """The artifact with this id; None if there is none. Ask your access function about its `message`."""

    def open(self, artifact_id: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes of an artifact in pieces of at most 256 KB, from the byte `start` on.

        Raises:
            ArtifactGoneError: There is no such artifact, it has no content, or its bytes are gone. It is raised when
                the first piece is asked for.
        """

    async def previous(self, artifact: Artifact) -> Artifact | None:
        """The latest artifact of the same record and path before this one, with content: to show a difference.

        None if there is none, or if the path was deleted in between.
        """

    async def delete(self, record: str) -> int:
        """Delete all artifacts of a record, with their bytes: how many there were."""

    async def delete_of_message(self, message: str) -> int:
        """Delete all artifacts of a message, with their bytes: how many there were."""

    # For whoever collects what an agent has made.

    async def latest(self, record: str, paths: Collection[str]) -> Mapping[str, Artifact]:
        """By path, the latest artifact of a record: also a deleted one, but none that was skipped."""

    async def expect(self, due: Due, *, look_after: float) -> None:
        """Store that files of a turn are due, before its prompt is sent. It may be called again.

        Args:
            due: Of which turn.
            look_after: After how many seconds `due` gives it: its runner collects the files before that.
        """

    async def find_due(self, message: str) -> Due | None:
        """What is due of this message's turn; None if nothing is."""

    async def due(self, *, look_after: float, limit: int = 100) -> Sequence[Due]:
        """What was to be looked at by now, the oldest first.

        Each is given to one of several processes that ask at once, and again after `look_after` seconds.
        """

    async def due_of(self, record: str) -> Sequence[Due]:
        """All that is due of a record's turns, the oldest first; at once."""

    async def save(self, content: AsyncIterator[bytes]) -> Content:
        """Store bytes that no row names yet. If `content` raises, nothing stays stored."""

    def read(self, content: Content) -> AsyncIterator[bytes]:
        """The bytes that were saved, in pieces."""

    async def discard(self, name: str) -> None:
        """Remove bytes that were saved and that no row names. It may be called again."""

    async def attach(self, message: str, artifacts: Sequence[tuple[Artifact, Content | None]]) -> bool:
        """Write all rows of a turn, and that its files are due no more, in one transaction.

        Args:
            message: The message's key.
            artifacts: Each with its bytes, as `save` has stored them; None if it has none. No path comes twice. One
                that the message has an artifact of already (a person's upload) keeps that one, and its bytes here are
                discarded.

        Returns:
            False if no files were due: another collector was first. No row is written then.

        Whatever it returns or raises, bytes that no row names are discarded, and those that a row names are kept.
        """

    # For whoever tidies up.

    async def records(self) -> Sequence[str]:
        """The keys of the records that have artifacts."""

    async def left_over(self, *, older_than: float = 3_600.0) -> Sequence[LeftOver]:
        """Bytes that no row names, stored more than so many seconds ago: a process died over them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A file of a turn, as a `Transform` is shown it.

    Attributes:
        message: The message's key.
        record: The record's.
        path: As of an `Artifact`.
        size: In bytes.
        media_type: By its content and name.
    """

    message: str
    record: str
    path: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What a transform makes of an agent's file, and the host vouches for.

    Attributes:
        path: Under which it is kept, relative to the record's folder. It must be one that the transform `owns`.
        content: Its bytes.
        media_type: Such as ``"text/html"``.
    """

    path: str
    content: bytes
    media_type: str


class Transform(Protocol):
    """A host's rule that makes output it vouches for of an agent's file."""

    @property
    def name(self) -> str:
        """Who made the output: the `author` of its artifacts."""

    def owns(self, path: str) -> bool:
        """Is this the path of an output of this transform? No file of the agent is accepted under it."""

    def claims(self, file: FileInfo) -> bool:
        """Is an output to be made of this file?"""

    def apply(self, file: FileInfo, content: bytes) -> Vouched:
        """Make it. What it raises costs this output only, and goes to `on_error`."""
