"""`LiveReply`: the growing reply of a turn that runs in this process.

A growing text is rendered whole each time, and so less often the longer it is. Its cost for the browser's connection
and for this process stays constant.
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
"""Characters a second that a changing part may cost each watcher."""

SHARE = 0.1
"""The share of a processor that one turn's views may use."""


class LiveReply:
    """The reply, with the parts that must be rendered again. It does not keep the reply alive.

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
        """Whether the reply still exists, and so its runner."""
        return self._reply() is not None

    def follows(self, reply: Reply) -> bool:
        """Is it this reply?"""
        return self._reply() is reply

    def note(self, part_id: str) -> None:
        """Note that a part has changed, or is new."""
        if part_id not in self._dirty:
            self._dirty[part_id] = max(self._earliest.get(part_id, 0.0), self._not_before)

    @property
    def due(self) -> float:
        """The time of the next view."""
        return min(self._dirty.values(), default=float("inf"))

    def collect(self, now: float) -> set[str]:
        """The parts that are due for `view`."""
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
            row: The row, as it was last read, with the asks and the cost.
            asks: The rendered asks.
            renderers: The encoders of all watchers.
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
        """Note the worktree, once a call names it; paths are shown relative to it. True if it is new."""
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
