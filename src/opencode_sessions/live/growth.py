"""`Growth`: the texts of a turn that runs in another process, made longer than in its row by deltas.

The row determines the parts. A delta makes the text of a part longer, but only if the text before the delta is the same
as in the other process; its length and a checksum tell. So deltas can be lost, repeated and reordered, and no text gets
wrong. A delta that comes too early waits for the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opencode_sessions.live.notes import Delta, TextEnd, checksum
from opencode_sessions.protocol.parts import STREAMED
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import TurnRow

__all__ = ["Growth"]

_MOST_EARLY = 256
"""How many deltas wait at most. The row makes up for the rest."""


class Growth:
    """The text from deltas, beyond the last row."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[str, int]] = {}
        self._early: list[Delta] = []

    def add(self, delta: Delta, row: TurnRow) -> bool:
        """Apply a delta. True if a text has become longer."""
        self._early = [*self._early, delta][-_MOST_EARLY:]
        return self._take_early(row)

    def ends_at(self, end: TextEnd, row: TurnRow) -> bool:
        """Is this text known at least up to this end?"""
        text, check = self._text(end.part, row) or ("", 0)
        return len(text) >= end.length and end.check == (
            check if len(text) == end.length else checksum(text[: end.length])
        )

    def over(self, row: TurnRow) -> TurnRow:
        """The row as it was read, with the additional text from deltas.

        A text from deltas counts while the row has less of it. Once the part or the turn has ended, the row is right.
        """
        parts = {part.get("id"): part for part in row.parts}
        over = TurnStatus(row.status).terminal
        self._texts = {
            part_id: told
            for part_id, told in self._texts.items()
            if not over and _takes_more(parts.get(part_id)) and len(told[0]) > len(_said(parts[part_id]))
        }
        if over:
            self._early = []
        self._take_early(row)
        if not self._texts:
            return row
        grown = [
            {**part, "text": self._texts[part["id"]][0]} if part.get("id") in self._texts else part
            for part in row.parts
        ]
        texts = (_said(part) for part in grown if part.get("type") == "text")
        return replace(row, parts=grown, content="\n\n".join(filter(None, texts)))

    def _take_early(self, row: TurnRow) -> bool:
        """Apply all deltas that fit, and keep those that may fit later."""
        grew = False
        self._early.sort(key=lambda delta: delta.before.length)
        kept = []
        for delta in self._early:
            known = self._text(delta.before.part, row)
            if known is None or delta.before.length > len(known[0]):
                kept.append(delta)
            elif (longer := _longer(*known, delta)) is not None:
                self._texts[delta.before.part] = longer
                grew = True
        self._early = kept
        return grew

    def _text(self, part_id: str, row: TurnRow) -> tuple[str, int] | None:
        """A text that can grow, and its checksum."""
        if part_id not in self._texts:
            part = next((part for part in row.parts if part.get("id") == part_id), None)
            if part is None or not _takes_more(part):
                return None
            return _said(part), checksum(_said(part))
        return self._texts[part_id]


def _longer(text: str, check: int, delta: Delta) -> tuple[str, int] | None:
    """The text with the delta; None if the delta has no new text, or is of another text."""
    at = delta.before.length
    overlap = len(text) - at
    if len(delta.text) <= overlap or text[at:] != delta.text[:overlap]:
        return None
    if delta.before.check != (check if not overlap else checksum(text[:at])):
        return None
    more = delta.text[overlap:]
    return text + more, checksum(more, check)


def _takes_more(part: Mapping[str, Any] | None) -> bool:
    """Is this a text part that has not ended?"""
    return part is not None and part.get("type") in STREAMED and "end" not in (part.get("time") or {})


def _said(part: Mapping[str, Any]) -> str:
    text: str = part.get("text", "")
    return text
