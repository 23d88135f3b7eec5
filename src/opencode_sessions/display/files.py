"""Pictures and files as they are shown: by name, type and size, and where a browser finds them."""

from __future__ import annotations

from urllib.parse import quote

from opencode_sessions.display.coerce import Json, number, one_line, web_url
from opencode_sessions.display.model import File
from opencode_sessions.protocol.attachments import PICTURES
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import text

__all__ = ["shown_file"]


def shown_file(shown_id: str, told: Json, *, files: str, name: str = "") -> File:
    """A file as `opencode_sessions.protocol.attachments` keeps it.

    Args:
        shown_id: The id that it is shown under.
        told: What is known of it.
        files: See `display`.
        name: Its name if it has none of its own.
    """
    mime, url, size = one_line(told.get("mime")), said(told.get("url")), number(told.get("size"))
    elsewhere = web_url(url)
    picture = mime in PICTURES and not elsewhere  # to show one from elsewhere would tell that host who looks
    if not elsewhere and size is not None and files:
        elsewhere = files + "/".join(quote(said(told.get(name)), safe="") for name in ("messageID", "id"))
    elif picture and url.startswith(f"data:{mime};base64,"):
        elsewhere = url
    return File(
        id=shown_id,
        name=one_line(told.get("filename")) or name or (text("picture") if picture else text("file")),
        mime=mime,
        url=elsewhere,
        picture=picture and bool(elsewhere),
        size=size,
    )
