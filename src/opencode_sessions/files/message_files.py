"""The files of a message: those that were sent with it, and those that its turn's agent made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeVar

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.ports import Artifact, ArtifactStore, FileKind
from opencode_sessions.files.serving import FileHead, limited
from opencode_sessions.files.uploads import Upload, Uploads

__all__ = ["MessageFile", "MessageFiles"]

T = TypeVar("T")

_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFile:
    """A file of a message.

    Attributes:
        id: Its id, unique among the files of its message.
        name: The name for people.
        path: Its path in the agent's folder.
        kind: `uploaded`, `created`, `changed`, `deleted` or `skipped`.
        reason: The reason why it was skipped.
        size: The size in bytes.
        sha256: The SHA-256 of its content, in hex.
        media_type: The media type, by content and name.
        author: The name of the host's transform that made it; empty for a file of the agent.
    """

    id: str
    name: str
    path: str
    kind: FileKind
    reason: str = ""
    size: int = 0
    sha256: str = ""
    media_type: str = ""
    author: str = ""
    source: Upload | Artifact = field(repr=False)

    @property
    def is_upload(self) -> bool:
        """Whether a person has sent it."""
        return self.kind is FileKind.UPLOADED

    @property
    def has_content(self) -> bool:
        """Whether it has content."""
        return self.kind not in (FileKind.DELETED, FileKind.SKIPPED)

    @property
    def head(self) -> FileHead:
        """The values for serving it."""
        return FileHead(self.name, self.size, self.sha256, self.media_type)

    @classmethod
    def of_upload(cls, upload: Upload) -> MessageFile:
        """The file for an upload."""
        return cls(
            id=upload["id"],
            name=upload["name"],
            path=upload["path"],
            kind=FileKind.UPLOADED,
            size=upload["size"],
            sha256=upload["sha256"],
            media_type=upload["mime"],
            source=upload,
        )

    @classmethod
    def of_artifact(cls, artifact: Artifact) -> MessageFile:
        """The file for an artifact."""
        return cls(
            id=artifact.id,
            name=artifact.name or PurePosixPath(artifact.path).name,
            path=artifact.path,
            kind=artifact.kind,
            reason=artifact.reason,
            size=artifact.size,
            sha256=artifact.sha256,
            media_type=artifact.media_type,
            author=artifact.author,
            source=artifact,
        )


class MessageFiles:
    """The files of a host's messages.

    Args:
        uploads: The uploads of people; None: none.
        artifacts: The store of agents' files; None: none.
        suspends: Whether calls suspend; otherwise they block.
    """

    def __init__(self, uploads: Uploads | None, artifacts: ArtifactStore | None, *, suspends: bool) -> None:
        self._uploads = uploads
        self._artifacts = artifacts
        self._suspends = suspends

    async def list(self, message: Any, key: str) -> Sequence[MessageFile]:
        """The files of a message: first those that were sent with it, then those that its turn made, by path.

        Args:
            message: The message, with all its columns.
            key: The message's key.
        """
        sent = [MessageFile.of_upload(each) for each in getattr(message, "opencode_uploads", None) or ()]
        if self._artifacts is None:
            return sent
        made = await self._artifacts.list(key)
        known = {file.path for file in sent}
        return [*sent, *(MessageFile.of_artifact(each) for each in made if each.path not in known)]

    async def are_due(self, key: str) -> bool:
        """Whether the turn has files that are not collected yet."""
        return self._artifacts is not None and await self._artifacts.find_due(key) is not None

    async def find(self, message: Any, key: str, file_id: str) -> MessageFile | None:
        """One file; None if the message has no file with this id."""
        for upload in getattr(message, "opencode_uploads", None) or ():
            if upload["id"] == file_id:
                return MessageFile.of_upload(upload)
        artifact = await self._artifacts.find(file_id) if self._artifacts is not None else None
        return MessageFile.of_artifact(artifact) if artifact is not None and artifact.message == key else None

    async def previous(self, file: MessageFile) -> MessageFile | None:
        """The version of the same path before this one; None without one."""
        if isinstance(file.source, dict) or self._artifacts is None:
            return None
        found = await self._artifacts.previous(file.source)
        return None if found is None else MessageFile.of_artifact(found)

    async def open(
        self, file: MessageFile, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a file in pieces.

        Args:
            file: A file with content.
            start: The first byte.
            length: How many bytes at most.

        Raises:
            FileError: The bytes are missing. It is raised before the first piece.
        """
        pieces = self._pieces(file, start)
        first = await anext(pieces, b"")
        return limited(_with(first, pieces), file.size if length is None else length)

    async def read(self, file: MessageFile, most: int) -> bytes:
        """The first bytes of a file.

        Raises:
            FileError: The bytes are missing.
        """
        return b"".join([piece async for piece in await self.open(file, length=most)])

    def _pieces(self, file: MessageFile, start: int) -> AsyncIterator[bytes]:
        if not isinstance(file.source, dict):
            if self._artifacts is None:
                raise ConfigurationError("this host has no store of artifacts")
            return self._artifacts.open(file.id, start=start)
        return self._uploaded(file.source, start)

    async def _uploaded(self, upload: Upload, start: int) -> AsyncIterator[bytes]:
        if self._uploads is None:
            raise ConfigurationError("the settings of this host do not say where its uploads are")
        content = await self.work(partial(self._uploads.open, upload))
        try:
            content.seek(start)
            while piece := await self.work(partial(content.read, _PIECE)):
                yield piece
        finally:
            content.close()

    async def work(self, call: Callable[[], T]) -> T:
        """The result of a slow function, which runs in a thread if calls suspend."""
        return await asyncio.to_thread(call) if self._suspends else call()


async def _with(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for each in others:
        yield each
