"""The requests for a message's files: the list, a download, a preview, the changes, all as a zip."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from opencode_sessions.display.files import shown_file
from opencode_sessions.display.tools.cards import Diff
from opencode_sessions.errors import NotFoundError, WireError
from opencode_sessions.files.archive import archive
from opencode_sessions.files.message_files import MessageFile, MessageFiles
from opencode_sessions.files.ports import FileKind
from opencode_sessions.files.previews import (
    PicturePreview,
    Preview,
    changes_of,
    picture_of,
    preview_of,
)
from opencode_sessions.files.serving import SEALED, disposition, respond
from opencode_sessions.frontends.display_json import plain
from opencode_sessions.host.steering import Refused
from opencode_sessions.protocol.attachments import PICTURES, Json, attachments_of, content_of, stored_file
from opencode_sessions.protocol.plain import said
from opencode_sessions.protocol.values import Message
from opencode_sessions.protocol.visible import visible_line
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.texts import later, stored_text, text

__all__ = ["ARCHIVE", "NO_FILE", "FileService", "ServedFile", "served_tool_file", "told", "told_preview"]

NO_FILE = later("There is no such file, or not for you.")
ARCHIVE = "files.zip"


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A response.

    Attributes:
        status: The HTTP status.
        headers: All headers, including the content type.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: AsyncIterator[bytes] | bytes = b""


class FileService:
    """The files of messages. The caller checks who may see a message.

    Args:
        files: The host's files.
    """

    def __init__(self, files: MessageFiles) -> None:
        self._files = files

    async def list(self, message: Any, key: str) -> list[MessageFile]:
        """All files of a message."""
        return list(await self._files.list(message, key))

    async def are_due(self, message: Any, key: str) -> bool:
        """Whether the turn has ended, and its files must still be collected. Call it before `list`."""
        return TurnStatus(message.status).terminal and await self.are_collected_later(key)

    async def are_collected_later(self, key: str) -> bool:
        """Are files still to be collected of a turn that has ended?"""
        return await self._files.are_due(key)

    async def find(self, message: Any, key: str, file_id: str) -> MessageFile:
        """One file of a message.

        Raises:
            Refused: The message has no file with this id.
        """
        found = await self._files.find(message, key, file_id)
        if found is None:
            raise Refused(404, text(NO_FILE))
        return found

    async def serve(self, file: MessageFile, asked: Mapping[str, str], *, head: bool = False) -> ServedFile:
        """A file, or a part of it, as a download.

        Args:
            file: The file.
            asked: The headers of the request.
            head: Whether only the headers are requested.

        Raises:
            Refused: The file has no content.
            FileError: Its bytes are missing in the storage.
        """
        if not file.has_content:
            raise Refused(404, text(NO_FILE))
        found = respond(file.head, asked)
        if head or not found.length:
            return ServedFile(found.status, found.headers)
        content = await self._files.open(file, start=found.start, length=found.length)
        return ServedFile(found.status, found.headers, content)

    async def all(self, message: Any, key: str) -> ServedFile:
        """All files that the agent has made, as one zip.

        Raises:
            Refused: There are none.
        """
        files = [each for each in await self.list(message, key) if each.has_content and not each.is_upload]
        if not files:
            raise Refused(404, text(NO_FILE))
        headers = {**SEALED, "Content-Type": "application/zip", "Content-Disposition": disposition(ARCHIVE)}
        return ServedFile(200, headers, archive(self._files, files))

    async def preview(self, file: MessageFile) -> Preview:
        """The preview of a file."""
        return await preview_of(self._files, file)

    async def picture(self, file: MessageFile, asked: Mapping[str, str]) -> ServedFile:
        """A picture of a file, encoded again by us.

        Raises:
            Refused: It is not a picture that can be decoded.
        """
        tag = f'"{file.sha256}-preview"'
        if file.sha256 and tag in asked.get("If-None-Match", ""):
            return ServedFile(304, {**SEALED, "ETag": tag})
        drawn = await picture_of(self._files, file)
        if drawn is None:
            raise Refused(404, text("It cannot be drawn. Download it."))
        return ServedFile(200, {**SEALED, "Content-Type": "image/webp", "ETag": tag}, drawn)

    async def changes(self, file: MessageFile) -> Diff:
        """The changes since the version before.

        Raises:
            Refused: There is no earlier version, or the file is not a text.
        """
        found = await changes_of(self._files, file)
        if found is None:
            said = text("There is no version before this one that it could be compared with.")
            raise Refused(404, said)
        return found


def told(file: MessageFile, base: str) -> dict[str, Any]:
    """A file as JSON has it.

    Args:
        file: Which.
        base: The address of the message's files, with a `/` at its end; empty: they have none.
    """
    address, has_address = f"{base}{file.id}", bool(base and file.has_content)
    return {
        "id": file.id,
        "name": visible_line(file.name),
        "path": visible_line(file.path),
        "kind": file.kind.value,
        "reason": stored_text(file.reason),
        "size": file.size,
        "media_type": file.media_type,
        "url": address if has_address else "",
        "preview": f"{address}/preview" if has_address else "",
        "changes": f"{address}/changes" if base and file.kind is FileKind.CHANGED else "",
    }


def told_preview(preview: Preview, picture: str) -> dict[str, Any]:
    """A preview as JSON, with its `type`; a picture has its `url`."""
    found: dict[str, Any] = plain(preview)
    return {**found, "url": picture} if isinstance(preview, PicturePreview) else found


async def served_tool_file(
    message: Any,
    message_id: str,
    attachment_id: str,
    fetch: Callable[[str, str], Awaitable[Message]],
) -> ServedFile:
    """A picture or a file that a tool returned. A picture is shown as such, and any other file is a download.

    If the row does not have the content, it comes from the server.

    Args:
        message: The message, with all its columns.
        message_id: The id of the server's message that has the file.
        attachment_id: The file's id.
        fetch: Reads a message of a session from the server.

    Raises:
        Refused: The answer has no such file, or the server cannot be reached.
    """
    kept = chain.from_iterable(map(attachments_of, message.parts))
    found: Json = next((each for each in kept if each.get("id") == attachment_id), {})
    try:
        if "url" not in found:  # it is large, or so new that the row does not have it yet
            session_id = said(found.get("sessionID")) or said(message.opencode_prompt_session_id)
            asked = session_id and message_id.startswith("msg")  # the server accepts no other id (1.18.33)
            found = await _stored(message, session_id, message_id, attachment_id, fetch) if asked else {}
    except NotFoundError as error:
        said_so = text("The answer has no such file, or its session does not have it any more.")
        raise Refused(404, said_so) from error
    except WireError as error:
        raise Refused(503, text("The server that has this file cannot be asked now.")) from error
    content = content_of(said(found.get("url")))
    if content is None:
        raise Refused(404, text("The answer has no such file."))
    shown = shown_file("", found, files="")
    is_picture = shown.mime in PICTURES
    headers = {
        **SEALED,
        "Cache-Control": "private, max-age=3600",
        "Content-Type": shown.mime if is_picture else "application/octet-stream",
        "Content-Disposition": "inline" if is_picture else disposition(shown.name),
    }
    return ServedFile(200, headers, content)


async def _stored(
    message: Any,
    session_id: str,
    message_id: str,
    attachment_id: str,
    fetch: Callable[[str, str], Awaitable[Message]],
) -> Json:
    """A file on the server, if it belongs to this turn."""
    stored = await fetch(session_id, message_id)
    of_this_turn = stored.info.parent_id == message.opencode_prompt_id
    return (stored_file(stored.parts, attachment_id) if of_this_turn else None) or {}
