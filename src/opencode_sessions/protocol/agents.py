"""The sub-agents of a turn: they assign an event to the tool call under which its progress shows.

A sub-agent works in a child session. The child's creation event names its parent, and the metadata of the tool call
that started it name the child. No event is lost, whichever of the two comes first.
"""

from __future__ import annotations

from opencode_sessions.protocol.events import Event, SessionChanged
from opencode_sessions.protocol.parts import Change, Part
from opencode_sessions.protocol.progress import ChildProgress

__all__ = ["SubAgents"]

_MOST = 256
"""How many child sessions are followed. Beyond that, the oldest keep their last progress."""


class SubAgents:
    """The sub-agents that one session started, with their own sub-agents."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._watches: dict[str, ChildProgress] = {}  # by session; a grandchild shares that of the child
        self._calls: dict[str, Part] = {}  # by the child's session

    def link(self, part: Part) -> None:
        """Note the child that a new or changed tool call names, if it names one."""
        child = (part.metadata or {}).get("sessionId")
        if part.type != "tool" or not isinstance(child, str) or child == self._session_id:
            return
        watch = self._watches.get(child)
        before = self._calls.get(child)
        if watch is None or (before is not None and before.id != part.id):  # the child was started again
            watch = self._watch(child, ChildProgress(child))
        self._calls[child] = part
        if watch.heard:
            part.progress = watch.progress

    def owns(self, session_id: str | None) -> bool:
        """Is this the session of a sub-agent that this reply started, directly or by another sub-agent?"""
        watch = self._watches.get(session_id or "")
        return watch is not None and watch.progress.session_id in self._calls

    def take(self, event: Event) -> list[Change]:
        """Apply an event of another session. An event of a session that is no descendant changes nothing."""
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
