"""Reading JSON of any shape, and limiting the shown part of it.

Names, paths, commands and all other inputs of a tool are shown by the rules of `protocol.visible`, which remove
nothing. In the output of a tool, the codes for a terminal are removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from opencode_sessions.protocol import plain
from opencode_sessions.protocol.plain import said
from opencode_sessions.protocol.visible import visible, visible_line
from opencode_sessions.texts import counted

__all__ = [
    "LONGEST",
    "MOST_CHARACTERS",
    "MOST_ITEMS",
    "MOST_LINES",
    "Cut",
    "Json",
    "clean",
    "cut",
    "entries",
    "laid_out",
    "number",
    "objects",
    "one_line",
    "pretty",
    "prose",
    "safe_id",
    "section",
    "web_url",
]

Json = Mapping[str, Any]

MOST_LINES = 400
"""The most lines of a file, a diff or an output."""

MOST_ITEMS = 100
"""The most items of a list."""

LONGEST = 200
"""The most characters of a text on one line."""

MOST_CHARACTERS = 60_000
"""The most characters of a file, a diff or an output."""

_LONGEST_LINE = 1_000
_LONGEST_ID = 100

_UNSAFE = re.compile(r"[^\w-]+", re.ASCII)
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Halves of characters, and the marks that change the direction of the text after them: "Trojan source".
_HIDDEN = dict.fromkeys(
    (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}"
)


@dataclass(frozen=True, slots=True)
class Cut:
    """The shown part of a text, and how many lines and characters are missing."""

    text: str
    left_out: int = 0
    size: int = 0


def objects(value: Any) -> list[Json]:
    """The objects of a list; empty for any other value."""
    return [item for item in entries(value) if isinstance(item, Mapping)]


def entries(value: Any) -> list[Any]:
    """The items of a list or another iterable; empty for any other value."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else []


def section(value: Json, name: str) -> Json:
    """An object in an object; empty for any other value."""
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def number(value: Any) -> int | None:
    """A whole number of ordinary size; None for any other value."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) < 2**53 else None


def clean(text: str) -> str:
    """The text without a terminal's escape sequences, and with its invisible characters marked.

    If a line was overwritten, as by a progress bar, its last state is kept.
    """
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return plain.clean(text).translate(_HIDDEN)


def one_line(value: Any, limit: int = LONGEST) -> str:
    """A text on one line, made visible, of at most `limit` characters; empty for any other value."""
    text = said(value)
    line = visible_line(text[: 8 * limit])
    if len(text) > 8 * limit and len(line) <= limit:  # a mark can replace many characters
        line = visible_line(text)
    return plain.cut_line(line, limit)


def laid_out(text: str, lines: int = MOST_LINES, characters: int = MOST_CHARACTERS) -> Cut:
    """The shown part of a tool's input: its first lines and characters, made visible.

    A line is cut only if it is longer than the whole limit.
    """
    head, rest = text[: 2 * characters], text[2 * characters :]
    whole = visible(head)
    if rest and len(whole) < characters and whole.count("\n") < lines:  # a mark can replace many characters
        whole, rest = visible(text), ""
    *kept, last = whole[:characters].removesuffix("\n").split("\n", lines)
    if len(kept) < lines:
        kept.append(last)
    shown = "\n".join(kept)
    missed = whole[len(shown) :] + rest
    if missed in ("", "\n"):
        return Cut(shown)
    return Cut(shown, missed.rstrip("\n").count("\n") + (missed[0] != "\n"), len(missed))


def cut(text: str, *, keep_end: bool = False) -> Cut:
    """The shown part of a tool's output: its first or last lines and characters."""
    lines = clean(text).removesuffix("\n").split("\n")
    kept: list[str] = []
    room = MOST_CHARACTERS
    for line in islice(reversed(lines) if keep_end else lines, MOST_LINES):
        shown = _shorten(line)
        room -= len(shown) + 1
        if room < 0:
            break
        kept.append(shown)
    if keep_end:
        kept.reverse()
    return Cut("\n".join(kept), len(lines) - len(kept))


def prose(text: str, most: int = 200_000) -> Cut:
    """The shown part of a text whose lines are paragraphs: its first `most` characters."""
    text = clean(text)
    return Cut(text[:most], text[most:].count("\n") + 1 if len(text) > most else 0)


def pretty(value: Any) -> str:
    """JSON with indentation. A text that contains JSON is indented, too; any other text stays as it is."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value) if value[:1] in ("{", "[") else value
    return (
        value
        if isinstance(value, str)
        else json.dumps(plain.plain(value), indent=2, ensure_ascii=False, default=str)
    )


def safe_id(value: str) -> str:
    """A form of the text for HTML ids and selectors. An id of the server stays the same."""
    return _UNSAFE.sub("-", value)[:_LONGEST_ID]


def web_url(value: Any) -> str:
    """The URL, if it is http or https with a host; else empty. It never runs a script."""
    url = said(value)
    if not url.isprintable() or " " in url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""


def _shorten(line: str) -> str:
    more = len(line) - _LONGEST_LINE
    if more <= 0:
        return line
    return line[:_LONGEST_LINE] + counted("… ({count} character more)", "… ({count} characters more)", more)
