"""View models of pictures and files: name, type, size and URL."""

from __future__ import annotations

from urllib.parse import quote

from opencode_sessions.display.coerce import Json, number, one_line, web_url
from opencode_sessions.display.model import File
from opencode_sessions.protocol.attachments import PICTURES
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import text

__all__ = ["shown_file"]


def shown_file(shown_id: str, told: Json, *, files: str, name: str = "") -> File:
    """The view model of a file in the form of `opencode_sessions.protocol.attachments`.

    Args:
        shown_id: The id of the view model.
        told: The file in a part.
        files: See `display`.
        name: The name if the file has none of its own.
    """
    mime, url, size = one_line(told.get("mime")), said(told.get("url")), number(told.get("size"))
    elsewhere = web_url(url)
    picture = (
        mime in PICTURES and not elsewhere
    )  # a picture on another host would tell that host who looks at it
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
