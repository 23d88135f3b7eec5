"""`SentFile`: a file in the JSON of a request, as the front ends of chat protocols send it."""

from __future__ import annotations

import mimetypes
from base64 import b64decode
from dataclasses import dataclass, field
from io import BytesIO
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
        """What `Uploads.save` takes.

        Raises:
            Refused: It came as a link: nothing is fetched from addresses that people name. Or it is not base64.
        """
        if self.base64 is None:
            raise Refused(
                400, "Send the file itself, as a data URL in base64: nothing is fetched from a link."
            )
        try:
            return self.name, BytesIO(b64decode(self.base64, validate=True))
        except ValueError as error:
            raise Refused(400, f"What came of “{visible_line(self.name)}” is not base64.") from error
