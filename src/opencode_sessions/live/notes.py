"""Notes between processes about a turn: its row was written, or a text has grown.

A note is only a hint: it can be lost, come twice, late, or before an earlier one.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

from opencode_sessions.store.turn_table import RowKey

__all__ = [
    "Delta",
    "Heard",
    "Note",
    "RowWritten",
    "Standing",
    "TextEnd",
    "checksum",
    "decode",
    "encode",
    "topic_of",
]

_LONGEST = 600
"""The longest delta, in characters. PostgreSQL accepts 8000 bytes of JSON, in which a character can take 12."""


@dataclass(frozen=True, slots=True)
class TextEnd:
    """Where a text ends.

    Attributes:
        part: The id of its part.
        length: How many characters it has.
        check: Their checksum.
    """

    part: str
    length: int
    check: int


@dataclass(frozen=True, slots=True)
class Delta:
    """A text has grown.

    Attributes:
        before: The end of the text before the delta. The delta fits only a text that is the same up to there.
        text: The new text.
    """

    before: TextEnd
    text: str

    def pieces(self) -> Iterator[Delta]:
        """The delta in pieces that are short enough for one note."""
        at, check = self.before.length, self.before.check
        for start in range(0, len(self.text), _LONGEST):
            text = self.text[start : start + _LONGEST]
            yield Delta(replace(self.before, length=at + start, check=check), text)
            check = checksum(text, check)

    def joined(self, later: Delta) -> Delta | None:
        """Both deltas as one, if the other one follows directly and one note has room for both."""
        before, after = self.before, later.before
        fits = before.part == after.part and before.length + len(self.text) == after.length
        if not fits or len(self.text) + len(later.text) > _LONGEST:
            return None
        return Delta(before, self.text + later.text)


@dataclass(frozen=True, slots=True)
class RowWritten:
    """The row was written.

    Attributes:
        revision: The row's new revision; None: unknown.
        since: The revision since which only texts have grown, with a note for each delta.
        ends: The ends of the texts that have grown since then.
    """

    revision: int | None = None
    since: int = 0
    ends: tuple[TextEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Not a note, but the state of their arrival: `now` is False if notes may be lost from here on."""

    now: bool


Note: TypeAlias = Delta | RowWritten
Heard: TypeAlias = Note | Standing


def checksum(text: str, before: int = 0) -> int:
    """The checksum of a text that follows one with the checksum `before`."""
    return zlib.crc32(text.encode(errors="surrogatepass"), before)


@lru_cache(1024)
def topic_of(key: RowKey) -> str:
    """The topic of a row: short, and the same in every process."""
    told = json.dumps([key.table, key.pk, key.database, key.tenant])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def encode(note: Note, origin: str) -> str:
    """A note as ASCII.

    Args:
        note: The note; a delta must be short enough, see `Delta.pieces`.
        origin: The sending process.
    """
    match note:
        case Delta(before, text):
            told: list[Any] = [origin, "delta", _plain(before), text]
        case RowWritten(revision, since, ends):
            told = [origin, "row", revision, since, [_plain(end) for end in ends]]
    return json.dumps(told, separators=(",", ":"))


def decode(told: str) -> tuple[str, Note] | None:
    """The sending process and the note; None if this release does not know the kind of note."""
    try:
        match json.loads(told):
            case [str(origin), "delta", before, str(text)]:
                return origin, Delta(_end(before), text)
            case [str(origin), "row", int() | None as revision, int(since), list(ends)]:
                return origin, RowWritten(revision, since, tuple(_end(end) for end in ends))
    except (ValueError, RecursionError):
        pass
    return None


def _plain(end: TextEnd) -> list[Any]:
    return [end.part, end.length, end.check]


def _end(told: Any) -> TextEnd:
    match told:
        case [str(part), int(length), int(check)]:
            return TextEnd(part, length, check)
    raise ValueError(told)
