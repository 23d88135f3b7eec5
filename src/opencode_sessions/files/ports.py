"""The ports of files: artifacts, their store, and transforms.

    the agent writes in the record's folder ─► the turn ends ─► `save` each file's bytes ─► `attach` all rows at once
           ▲ `expect`: the mark that files are due is stored before the prompt             and clear the mark ▲

An artifact is a row for one path in one turn. Its bytes are stored first, under a name of their own, so a row never
names missing bytes. A crash in between leaves bytes without a row, which `clear_left_over` removes. Rows are unique by
message and path, and `attach` writes rows only while files are due. So two collectors, or a repeated one, attach each
file once.

The rules of other stores apply: each call is one short transaction, which blocks or suspends. No bytes are read or
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
    """The kind of change of a path in a turn.

    Attributes:
        UPLOADED: A person sent it with the prompt.
        CREATED: It did not exist before the turn.
        CHANGED: It existed before, with other content.
        DELETED: It existed before, and was deleted. There are no bytes.
        SKIPPED: The file exists, but is not kept; `reason` says why. There are no bytes.
    """

    UPLOADED = "uploaded"
    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The row for one path in one turn.

    Attributes:
        message: The message's key: ``"chat_message:7"``.
        record: The record's key: ``"chat_conversation:3"``.
        path: The path relative to the record's folder, with ``/`` between its parts; never absolute, and without ``.``
            and ``..``. For a skipped path outside of the folder, the text in the tool call. It is always the agent's
            text: quote it when you show it.
        kind: The kind of change.
        reason: The reason why it was skipped, in plain English; else empty.
        size: The size of its content in bytes; for a skipped file, as far as it is known.
        sha256: The SHA-256 of its content, in hex; empty without content.
        media_type: By content and name, such as ``"image/png"``; ``"application/octet-stream"`` if unknown.
        name: The name for people instead of the path: the original name of a person's file; else empty.
        part_id: The part of the reply that names it, if there is one. Changes of a shell have none.
        author: The name of the host's transform that made it; else empty.
        signature: The host's signature of this content, which `vouched` checks; else empty.
        id: Its random id in the store, which cannot be guessed.
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
        """Whether it has content."""
        return self.kind not in (FileKind.DELETED, FileKind.SKIPPED)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that `ArtifactStore.save` has stored, and that no row names yet.

    Attributes:
        name: The store's name for them.
        size: How many they are.
        sha256: Their SHA-256, in hex, computed while they were stored.
        head: The first bytes, at most 8 KB, which determine the media type.
    """

    name: str
    size: int
    sha256: str
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Due:
    """The mark that a turn's files must be collected.

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
        name: The store's name for them.
        size: How many they are.
    """

    name: str
    size: int


class ArtifactStore(Protocol):
    """The store of artifacts: rows in a database, and bytes in a folder or an object store."""

    # For code that shows files, and accepts those of people.

    async def put(self, artifact: Artifact, content: AsyncIterator[bytes]) -> bool:
        """Store one file: its bytes first, then its row.

        Args:
            artifact: The artifact. Its `size`, `sha256` and `id` are set here.
            content: The bytes in pieces. The whole file is never in memory.

        Returns:
            False if the message has an artifact with this path already, which stays as it is.
        """

    async def list(self, message: str) -> Sequence[Artifact]:
        """The artifacts of a message, by path, including skipped ones."""

    async def find(self, artifact_id: str) -> Artifact | None:
        """The artifact with this id; None without one. Check the access to its `message`."""

    def open(self, artifact_id: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes of an artifact in pieces of at most 256 KB, from the byte `start` on.

        Raises:
            ArtifactGoneError: There is no such artifact, it has no content, or its bytes are missing. It is raised with
                the first piece.
        """

    async def previous(self, artifact: Artifact) -> Artifact | None:
        """The latest artifact with content of the same record and path before this one, for a diff.

        None without one, or if the path was deleted in between.
        """

    async def delete(self, record: str) -> int:
        """Delete all artifacts of a record, with their bytes. Returns how many there were."""

    async def delete_of_message(self, message: str) -> int:
        """Delete all artifacts of a message, with their bytes. Returns how many there were."""

    # For the collection of an agent's files.

    async def latest(self, record: str, paths: Collection[str]) -> Mapping[str, Artifact]:
        """The latest artifact of a record for each path, including deleted ones, but not skipped ones."""

    async def expect(self, due: Due, *, look_after: float) -> None:
        """Store the mark that a turn's files are due, before its prompt is sent. The call can be repeated.

        Args:
            due: The mark.
            look_after: Seconds after which `due` returns it. Before that, the runner collects the files.
        """

    async def find_due(self, message: str) -> Due | None:
        """The mark of this message's turn; None without one."""

    async def due(self, *, look_after: float, limit: int = 100) -> Sequence[Due]:
        """The marks whose time has come, oldest first.

        Only one of several processes gets a mark. It is returned again after `look_after` seconds.
        """

    async def due_of(self, record: str) -> Sequence[Due]:
        """All marks of a record's turns, oldest first, independent of their time."""

    async def save(self, content: AsyncIterator[bytes]) -> Content:
        """Store bytes that no row names yet. If `content` raises, nothing is stored."""

    def read(self, content: Content) -> AsyncIterator[bytes]:
        """The saved bytes, in pieces."""

    async def discard(self, name: str) -> None:
        """Remove saved bytes that no row names. The call can be repeated."""

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

    # For the removal of leftover files.

    async def records(self) -> Sequence[str]:
        """The keys of the records that have artifacts."""

    async def left_over(self, *, older_than: float = 3_600.0) -> Sequence[LeftOver]:
        """Bytes that no row names, stored more than `older_than` seconds ago by a process that died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A file of a turn, for a `Transform`.

    Attributes:
        message: The message's key.
        record: The record's key.
        path: See `Artifact`.
        size: The size in bytes.
        media_type: The media type, by content and name.
    """

    message: str
    record: str
    path: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """The output of a transform, which the host signs.

    Attributes:
        path: Its path, relative to the record's folder. The transform must `own` it.
        content: The bytes.
        media_type: The media type, such as ``"text/html"``.
    """

    path: str
    content: bytes
    media_type: str


class Transform(Protocol):
    """A host's rule that makes signed output from an agent's file."""

    @property
    def name(self) -> str:
        """The name of the transform: the `author` of its artifacts."""

    def owns(self, path: str) -> bool:
        """Whether this is a path for output of this transform. A file of the agent with this path is not accepted."""

    def claims(self, file: FileInfo) -> bool:
        """Whether to make an output from this file."""

    def apply(self, file: FileInfo, content: bytes) -> Vouched:
        """Make the output. An error goes to `on_error`, and costs only this output."""
