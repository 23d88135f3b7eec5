"""The media type of a file, by its content. The name only distinguishes kinds of text."""

from __future__ import annotations

import mimetypes
from codecs import getincrementaldecoder
from contextlib import suppress
from pathlib import Path

from opencode_sessions.errors import ConfigurationError

try:
    import filetype
except ImportError:
    filetype = None

__all__ = ["HEAD", "UNKNOWN", "check_installed", "is_text", "kind_of_head"]

UNKNOWN = "application/octet-stream"

HEAD = 8192
"""Bytes that are looked at."""

_TEXTS = (
    "application/json",
    "application/xml",
    "application/yaml",
    "application/javascript",
    "image/svg+xml",
)
_OFTEN = {".md": "text/markdown", ".csv": "text/csv", ".yaml": "application/yaml", ".yml": "application/yaml"}
"""Types that are missing in the tables of some systems."""


def check_installed() -> None:
    """Check that the package for media types is installed.

    Raises:
        ConfigurationError: It is not installed.
    """
    if filetype is None:
        raise ConfigurationError(
            "files need the package that tells their types: pip install 'opencode-sessions[files]'"
        )


def kind_of_head(head: bytes, name: str) -> str:
    """The media type of a file with this beginning and this name."""
    if head.startswith(b"%PDF-"):
        return "application/pdf"
    if is_text(head):
        return _kind_of_text(name)
    found = filetype.guess(head)
    return UNKNOWN if found is None else str(found.mime)


def is_text(head: bytes) -> bool:
    """Is a file with this beginning UTF-8 text? An empty one is."""
    if b"\0" in head:
        return False
    with suppress(UnicodeDecodeError):
        getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
        return True
    return False


def _kind_of_text(name: str) -> str:
    guessed = _OFTEN.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or ""
    return guessed if guessed.startswith("text/") or guessed in _TEXTS else "text/plain"
