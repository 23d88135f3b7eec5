"""`Picture`: the newest drawing of a turn, and which of it is news to a browser that has seen an earlier one.

Each change has a number. A browser that has seen the changes up to some number gets what is newer, however many
changes that were: of each part the newest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opencode_sessions.django.live.drawing import Drawing
from opencode_sessions.store.messages import TurnStatus

__all__ = ["Picture", "frame"]


class Picture:
    """What browsers are shown of one turn.

    Attributes:
        version: The number of the last change; 0: there is no drawing yet.
        drawing: The newest one.
    """

    def __init__(self) -> None:
        self.version = 0
        self.drawing: Drawing | None = None
        self._whole = 0  # who has not seen this change cannot be told of parts only
        self._parts: dict[str, int] = {}  # the last change of each
        self._asks = 0

    @property
    def over(self) -> bool:
        """The turn has ended, and this shows how."""
        return self.drawing is not None and TurnStatus(self.drawing.status).terminal

    def take(self, drawing: Drawing) -> int:
        """Show another drawing. How many characters of HTML are new in it?"""
        before, self.drawing = self.drawing, drawing
        number = self.version + 1
        if before is None or not _grew(before, drawing):
            news = [*drawing.parts]
            self._whole = self._asks = number
            self._parts = {}
        else:
            news = [key for key, part in drawing.parts.items() if before.parts.get(key) != part]
            if drawing.asks != before.asks:
                self._asks = number
        self._parts.update(dict.fromkeys(news, number))
        if not news and number not in (self._whole, self._asks):
            return 0
        self.version = number
        return max(1, sum(len(drawing.parts[key].html) for key in news))

    def since(self, version: int) -> list[bytes]:
        """What is to be sent to a browser that has seen the changes up to this one."""
        if self.drawing is None or version >= self.version:
            return []
        if version < self._whole:
            return [self.state()]
        frames = self._part_frames(version)
        if version < self._asks:
            frames.append(frame("asks", {"asks": _listed(self.drawing.asks)}))
        if not self.drawing.live:
            frames.append(f"id: {self.drawing.revision}\n\n".encode())  # all of that revision is there now
        return frames

    def state(self) -> bytes:
        """All of it."""
        if self.drawing is None:
            return b""
        now = self.drawing
        told = {
            "status": now.status,
            "revision": now.revision,
            "live": now.live,
            "parts": [{"id": key, "html": part.html} for key, part in now.parts.items()],
            "asks": _listed(now.asks),
            "error_html": now.error,
            **now.bill,
        }
        return frame("state", told, now.revision)

    def end(self, otherwise: str = "") -> bytes:
        """That nothing more comes: how the turn ended as it is shown, or otherwise this."""
        status = self.drawing.status if self.drawing is not None and self.over else otherwise
        return frame("end", {"status": status})

    def _part_frames(self, version: int) -> list[bytes]:
        frames = []
        after: str | None = None
        for key, part in self.drawing.parts.items() if self.drawing is not None else ():
            if self._parts[key] > version:
                frames.append(frame("part", {"id": key, "html": part.html, "after": after}))
            after = key
        return frames


def frame(event: str, data: Mapping[str, Any], number: int | None = None) -> bytes:
    """One server-sent event."""
    named = f"id: {number}\n" if number is not None else ""
    return f"event: {event}\n{named}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _grew(before: Drawing, now: Drawing) -> bool:
    """Is it the same with more, so that parts tell of all that is new?"""
    same = (before.status, before.live, before.error) == (now.status, now.live, now.error)
    return same and [key for key in now.parts if key in before.parts] == [*before.parts]


def _listed(asks: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"id": key, "html": html} for key, html in asks.items()]
