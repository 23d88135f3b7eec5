"""Serving a file over HTTP, whatever framework: which status and headers, and which of its bytes.

A file of an agent's, or of a person's, is a download. It is never shown as a page of the host's: another page could
be opened by its link, under the host's name and with its cookies. A picture keeps its type, so that a page can show it.

| the request says | the response |
|---|---|
| nothing of these | 200, all bytes |
| `If-None-Match` with its ETag, which is its SHA-256 | 304 |
| one `Range`, and no `If-Range` or the ETag in it | 206, those bytes; 416 if the file has none of them |
| several ranges, or an invalid one | 200, all bytes |
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from opencode_sessions.protocol.attachments import PICTURES

__all__ = ["SEALED", "FileHead", "FileResponse", "disposition", "limited", "respond"]

SEALED = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Encoding": "identity",  # keeps middleware from compressing it, which would break ranges
    "Cache-Control": "private, no-cache",  # so that each request checks the access again
}
"""The headers of all files from agents and people."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")


@dataclass(frozen=True, slots=True)
class FileHead:
    """What must be known of a file to serve it.

    Attributes:
        name: Under which it is saved.
        size: In bytes.
        sha256: Of its content, in hex; empty if it is not known.
        media_type: It is told of pictures only.
    """

    name: str
    size: int
    sha256: str
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class FileResponse:
    """A response.

    Attributes:
        status: 200, 206, 304 or 416.
        headers: All headers.
        start: The first byte to send.
        length: How many bytes to send.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    length: int = 0


def respond(file: FileHead, asked: Mapping[str, str]) -> FileResponse:
    """The response to a request.

    Args:
        file: The file.
        asked: The headers of the request: a case-insensitive mapping.
    """
    tag = f'"{file.sha256}"' if file.sha256 else ""
    headers = {**SEALED, "Accept-Ranges": "bytes", **({"ETag": tag} if tag else {})}
    if _names(asked.get("If-None-Match", ""), tag):
        return FileResponse(304, headers)
    headers |= {
        "Content-Type": file.media_type if file.media_type in PICTURES else "application/octet-stream",
        "Content-Disposition": disposition(file.name),
    }
    found = _RANGE.fullmatch(asked.get("Range", "").replace(" ", ""))
    if found is None or not any(found.groups()) or asked.get("If-Range", tag) != tag:
        return FileResponse(200, {**headers, "Content-Length": str(file.size)}, 0, file.size)
    start, end = _bytes(found, file.size)
    if start >= end:
        return FileResponse(416, {**headers, "Content-Range": f"bytes */{file.size}", "Content-Length": "0"})
    headers |= {"Content-Range": f"bytes {start}-{end - 1}/{file.size}", "Content-Length": str(end - start)}
    return FileResponse(206, headers, start, end - start)


def disposition(name: str) -> str:
    """The header `Content-Disposition` for a download with this name."""
    shown = "".join(filter(str.isprintable, name)).strip() or "file"
    plain = _PLAIN.sub("_", shown)
    also = "" if plain == shown else f"; filename*=UTF-8''{quote(shown, safe='')}"
    return f'attachment; filename="{plain}"{also}'


async def limited(content: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    """The first `length` bytes of a content."""
    async for piece in content:
        yield piece[:length]
        length -= len(piece)
        if length <= 0:
            return


def _names(given: str, tag: str) -> bool:
    return bool(tag) and (given.strip() == "*" or tag in _TAG.findall(given))


def _bytes(found: re.Match[str], size: int) -> tuple[int, int]:
    """The begin and end of a range. If the begin is not below the end, the file has none of these bytes."""
    first, last = found.groups()
    if not first:
        return max(size - int(last), 0), size
    end = min(int(last) + 1, size) if last else size
    return int(first), end
