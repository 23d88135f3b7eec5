"""`SentFile`: a file in the JSON of a request, as the front ends of chat protocols send it."""

from __future__ import annotations

import mimetypes
from base64 import b64decode
from dataclasses import dataclass, field
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from typing import Any, BinaryIO

from opencode_sessions.host.steering import Refused
from opencode_sessions.protocol.visible import visible_line

__all__ = ["SentFile"]


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file in a request.

    Attributes:
        name: What the person calls it; made up if the front end does not say.
        base64: What it holds; None: it came as a link, or not at all.
    """

    name: str
    base64: str | None = field(repr=False)

    @classmethod
    def of_base64(cls, name: Any, mime: Any, value: Any) -> SentFile:
        """A file that came as text.

        Args:
            name: What the front end says.
            mime: Likewise; it only gives a file without a name its extension.
            value: What it holds.
        """
        extension = mimetypes.guess_extension(mime) if isinstance(mime, str) else None
        named = name if isinstance(name, str) and name.strip() else f"file{extension or ''}"
        return cls(named, value if isinstance(value, str) else None)

    @classmethod
    def of_url(cls, name: Any, mime: Any, url: Any) -> SentFile:
        """A file that came as a data URL."""
        head, is_base64, value = (url if isinstance(url, str) else "").partition(";base64,")
        is_data = is_base64 and head.startswith("data:")
        return cls.of_base64(name, mime, value if is_data else None)

    def content(self) -> tuple[str, BinaryIO]:
        """What `Uploads.save` takes. Reading it decodes it, and raises `Refused` if it is not base64.

        Raises:
            Refused: It came as a link: nothing is fetched from addresses that people name.
        """
        if self.base64 is None:
            raise Refused(
                400, "Send the file itself, as a data URL in base64: nothing is fetched from a link."
            )
        return self.name, BufferedReader(_Decoded(self.name, self.base64))


class _Decoded(RawIOBase):
    """The bytes of a base64 text, decoded as they are read. So a chat that a user may not see costs no decoding.

    Args:
        name: The file's name, for the error.
        base64: The text.
    """

    def __init__(self, name: str, base64: str) -> None:
        self._name = name
        self._base64 = base64
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        size = len(self._base64) // 4 * 3 - self._base64.count("=", -2)
        self._at = max(0, offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        # Four characters are three bytes.
        first, last = self._at // 3 * 4, -(-(self._at + len(room)) // 3) * 4
        try:
            decoded = _decode(self._base64[first:last], is_end=last >= len(self._base64))
        except ValueError as error:
            raise Refused(400, f"What came of “{visible_line(self._name)}” is not base64.") from error
        found = decoded[self._at % 3 :][: len(room)]
        room[: len(found)] = found
        self._at += len(found)
        return len(found)


def _decode(text: str, *, is_end: bool) -> bytes:
    if "=" in text and not is_end:
        raise ValueError("there is padding before the end")
    return b64decode(text, validate=True)
