"""`LiveReply`: the reply of a turn that runs in this process, viewed as it grows.

A text that grows is rendered whole each time, so the longer it is the less often: what it costs a browser's line, and
this process, stays the same for as long as it grows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from weakref import ref

from opencode_sessions.display import Shown, ShownAsk
from opencode_sessions.display.parts import growing_place
from opencode_sessions.display.tools.paths import worktree_of
from opencode_sessions.live.view import (
    RenderContext,
    Rendered,
    Renderers,
    TurnView,
    bill_of,
    render,
    view_of_part,
)
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import TurnRow

__all__ = ["AT_ONCE", "RATE", "SHARE", "LiveReply"]

AT_ONCE = 0.1
"""Seconds between two views, at least."""

RATE = 20_000
"""Characters a second that one part may cost each who watches while it changes."""

SHARE = 0.1
"""Of a processor, that viewing one turn may take."""


class LiveReply:
    """The reply, and which of its parts are to be viewed anew. It does not keep the reply alive.

    Not locked: `note` and `collect` are called under the hub's lock, `view` by the thread that renders.
    """

    def __init__(self, reply: Reply, context: RenderContext) -> None:
        self._reply = ref(reply)
        self._context = context
        self._root = context.root or ""
        self._dirty: dict[str, float] = {}
        self._earliest: dict[str, float] = {}
        self._not_before = 0.0
        self._rendered: dict[str, tuple[bool, Rendered[Shown] | None]] = {}
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
        """When there is something to view."""
        return min(self._dirty.values(), default=float("inf"))

    def collect(self, now: float) -> set[str]:
        """What is due; `view` it."""
        found = {part_id for part_id, due in self._dirty.items() if due <= now}
        for part_id in found:
            del self._dirty[part_id]
        return found

    def view(
        self,
        dirty: AbstractSet[str],
        row: TurnRow,
        asks: Mapping[str, Rendered[ShownAsk]],
        renderers: Renderers,
    ) -> TurnView | None:
        """The turn with its reply as it is now; None if the reply is gone.

        Args:
            dirty: The parts that have changed.
            row: As it was last read: what is asked, and the bill, are there.
            asks: What is asked.
            renderers: Those of all who watch.
        """
        reply = self._reply()
        if reply is None:
            return None
        began = time.thread_time()
        told = reply.to_json()
        found_root = self._learn_root(told)
        asked = {str(ask.get("call_id")) for ask in row.asks}
        rendered: dict[str, tuple[bool, Rendered[Shown] | None]] = {}
        last = growing_place(told)
        for place, part in enumerate(told):
            part_id, growing = part["id"], place == last
            was_growing, known = self._rendered.get(part_id, (None, None))
            touched = found_root or part.get("call_id") in asked ^ self._asked
            shown = known.shown if known is not None else None
            if part_id in dirty or growing != was_growing or touched:
                shown = view_of_part(
                    part, growing=growing, asks=row.asks, root=self._root, files=self._context.files
                )
            now = render(shown, known, self._context, renderers) if shown is not None else None
            rendered[part_id] = (growing, now)
        self._rendered, self._asked = rendered, asked
        self._slow_down(dirty, time.thread_time() - began)
        texts = [part.get("text", "") for part in told if part["type"] == "text"]
        return TurnView(
            status=TurnStatus.STREAMING.value,
            revision=row.revision,
            live=True,
            parts={part.shown.id: part for _, part in rendered.values() if part is not None},
            asks=asks,
            error=None,
            bill=bill_of(row),
            length=len("\n\n".join(filter(None, texts))),
            renderers=renderers,
        )

    def _learn_root(self, told: Sequence[Mapping[str, Any]]) -> bool:
        """The worktree, once a call tells of it: paths are shown from there on. Is it news?"""
        if self._root:
            return False
        self._root = worktree_of(told)
        return bool(self._root)

    def _slow_down(self, dirty: AbstractSet[str], took: float) -> None:
        now = time.monotonic()
        self._not_before = now + max(AT_ONCE, took / SHARE)
        for part_id in dirty:
            _, part = self._rendered.get(part_id, (False, None))
            if part is not None:
                self._earliest[part_id] = now + part.size / RATE
