"""The sub-agents of a turn: whose event this is, and under which tool call its progress shows.

A sub-agent works in a child session. That one's creation says who its parent is; the tool call that started it
names it in its metadata. Whichever comes first, the events in between are not lost.
"""

from __future__ import annotations

from opencode_sessions.protocol.events import Event, SessionChanged
from opencode_sessions.protocol.parts import Change, Part
from opencode_sessions.protocol.progress import ChildProgress

__all__ = ["SubAgents"]

_MOST = 256
"""Child sessions that are told apart; of more, the oldest are forgotten, and keep the progress that they had."""


class SubAgents:
    """Those that one session started, and those that they started."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._watches: dict[str, ChildProgress] = {}  # by session: a grandchild has that of the child
        self._calls: dict[str, Part] = {}  # by the child's session

    def link(self, part: Part) -> None:
        """A tool call, new or changed: does it name a child?"""
        child = (part.metadata or {}).get("sessionId")
        if part.type != "tool" or not isinstance(child, str) or child == self._session_id:
            return
        watch = self._watches.get(child)
        before = self._calls.get(child)
        if watch is None or (before is not None and before.id != part.id):  # the same one, set to work again
            watch = self._watch(child, ChildProgress(child))
        self._calls[child] = part
        if watch.heard:
            part.progress = watch.progress

    def owns(self, session_id: str | None) -> bool:
        """Is this the session of a sub-agent that a call of this reply's started, or of one of its own?"""
        watch = self._watches.get(session_id or "")
        return watch is not None and watch.progress.session_id in self._calls

    def take(self, event: Event) -> list[Change]:
        """Fold in an event of another session; of one that is no descendant, nothing."""
        if event.session_id is None:
            return []
        if isinstance(event, SessionChanged) and event.session_id not in self._watches:
            if event.parent_id == self._session_id:
                self._watch(event.session_id, ChildProgress(event.session_id))
            elif event.parent_id in self._watches:
                self._watch(event.session_id, self._watches[event.parent_id])
            return []
        watch = self._watches.get(event.session_id)
        if watch is None or not watch.take(event):
            return []
        part = self._calls.get(watch.progress.session_id)
        if part is None:
            return []
        part.progress = watch.progress
        return [Change(part)]

    def _watch(self, session_id: str, watch: ChildProgress) -> ChildProgress:
        self._watches[session_id] = watch
        if len(self._watches) > _MOST:
            oldest = next(iter(self._watches))
            del self._watches[oldest]
            self._calls.pop(oldest, None)
        return watch
