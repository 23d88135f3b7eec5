"""`Following`: the reply of a turn that runs in this process, drawn as it grows.

A text that grows is rendered whole each time, so the longer it is the less often: what it costs a browser's line, and
this process, stays the same for as long as it grows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from weakref import ref

from opencode_sessions.display.tools.paths import worktree_of
from opencode_sessions.django.live.drawing import Drawing, Drawn, Row, bill_of, draw_part
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.messages import TurnStatus

__all__ = ["RATE", "SHARE", "Following"]

_AT_ONCE = 0.1
"""Seconds between two drawings, at least."""

RATE = 20_000
"""Characters of HTML a second that one part may cost while it changes."""

SHARE = 0.1
"""Of a processor, that drawing one turn may take."""


class Following:
    """The reply, and which of its parts are to be drawn anew. It does not keep the reply alive.

    Not locked: `note` and `collect` are called under the hub's lock, `draw` by the thread that draws.
    """

    def __init__(self, reply: Reply, root: str | None = None, files: str = "") -> None:
        self._reply = ref(reply)
        self._dirty: dict[str, float] = {}
        self._earliest: dict[str, float] = {}
        self._not_before = 0.0
        self._drawn: dict[str, tuple[bool, Drawn | None]] = {}
        self._root = root or ""
        self._files = files
        self._asked: set[str] = set()

    @property
    def alive(self) -> bool:
        """The reply is still there, so its runner is."""
        return self._reply() is not None

    def follows(self, reply: Reply) -> bool:
        """Is it this one?"""
        return self._reply() is reply

    def note(self, part_id: str) -> None:
        """A part has changed, or is new."""
        if part_id not in self._dirty:
            self._dirty[part_id] = max(self._earliest.get(part_id, 0.0), self._not_before)

    @property
    def due(self) -> float:
        """When there is something to draw."""
        return min(self._dirty.values(), default=float("inf"))

    def collect(self, now: float) -> set[str]:
        """What is due; `draw` it."""
        found = {part_id for part_id, due in self._dirty.items() if due <= now}
        for part_id in found:
            del self._dirty[part_id]
        return found

    def draw(self, dirty: AbstractSet[str], row: Row, asks: Mapping[str, str]) -> Drawing | None:
        """The turn with its reply as it is now; None if the reply is gone.

        Args:
            dirty: The parts that have changed.
            row: As it was last read: what is asked, and the bill, are there.
            asks: The forms of what is asked.
        """
        reply = self._reply()
        if reply is None:
            return None
        began = time.thread_time()
        told = reply.to_json()
        found_root = self._learn_root(told)
        asked = {str(ask.get("call_id")) for ask in row.asks}
        drawn: dict[str, tuple[bool, Drawn | None]] = {}
        for place, part in enumerate(told):
            part_id, growing = part["id"], place == len(told) - 1
            was_growing, known = self._drawn.get(part_id, (None, None))
            touched = found_root or part.get("call_id") in asked ^ self._asked
            if part_id in dirty or growing != was_growing or touched:
                known = draw_part(
                    part, known, growing=growing, asks=row.asks, root=self._root, files=self._files
                )
            drawn[part_id] = (growing, known)
        self._drawn, self._asked = drawn, asked
        self._slow_down(dirty, time.thread_time() - began)
        texts = [part.get("text", "") for part in told if part["type"] == "text"]
        return Drawing(
            status=TurnStatus.STREAMING.value,
            revision=row.revision,
            live=True,
            parts={part.id: part for _, part in drawn.values() if part is not None},
            asks=asks,
            error="",
            bill=bill_of(row, len("\n\n".join(filter(None, texts)))),
        )

    def _learn_root(self, told: Sequence[Mapping[str, Any]]) -> bool:
        """The worktree, once a call tells of it: paths are shown from there on. Is it news?"""
        if self._root:
            return False
        self._root = worktree_of(told)
        return bool(self._root)

    def _slow_down(self, dirty: AbstractSet[str], took: float) -> None:
        now = time.monotonic()
        self._not_before = now + max(_AT_ONCE, took / SHARE)
        for part_id in dirty:
            _, part = self._drawn.get(part_id, (False, None))
            if part is not None:
                self._earliest[part_id] = now + len(part.html) / RATE
