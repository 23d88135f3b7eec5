"""Sends each event of the shared stream to the subscribers that it concerns. It only keeps lists and never waits."""

from __future__ import annotations

from collections import defaultdict

from opencode_sessions.protocol.events import Event, SessionChanged, SessionDeleted
from opencode_sessions.runtime.ports import Mailbox
from opencode_sessions.wire.backlog import Item

__all__ = ["EventRouter"]

_MOST_CHILDREN = 100_000
"""How many sessions' parents are remembered: of more, those are forgotten whose last event is oldest."""


class EventRouter:
    """Mailboxes by session id. A child session's events also go to the subscribers of its ancestors.

    The cost of an event grows with the subscribers of its own session, not with those of others.
    """

    def __init__(self) -> None:
        self._mailboxes: defaultdict[str | None, list[Mailbox]] = defaultdict(list)
        self._parents: dict[str, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._mailboxes.values()))

    def add(self, session_id: str | None, mailbox: Mailbox) -> None:
        """Send `mailbox` the events of this session (None: of all sessions) from now on."""
        # A new list, never a changed one: deliver() may be walking the old one in its own thread.
        self._mailboxes[session_id] = [*self._mailboxes[session_id], mailbox]

    def discard(self, session_id: str | None, mailbox: Mailbox) -> None:
        """Send it no more events of this session."""
        rest = [other for other in self._mailboxes.get(session_id, ()) if other is not mailbox]
        if rest:
            self._mailboxes[session_id] = rest
        else:
            self._mailboxes.pop(session_id, None)

    def hears(self, session_id: str) -> bool:
        """Whether anybody subscribes to this session or to an ancestor that is known now."""
        mailboxes = self._mailboxes
        if session_id in mailboxes or None in mailboxes:
            return True
        return any(ancestor in mailboxes for ancestor in self._line(session_id))

    def deliver(self, event: Event) -> None:
        """Send an event to its subscribers. One about the server itself goes to those who subscribe to all sessions."""
        if isinstance(event, SessionChanged) and event.session_id and event.parent_id:
            self._remember(event.session_id, event.parent_id)
        for session_id in (*self._line(event.session_id), None):
            for mailbox in self._mailboxes.get(session_id, ()):
                mailbox.put(event)
        if isinstance(event, SessionDeleted) and event.session_id:
            self._parents.pop(event.session_id, None)

    def broadcast(self, item: Item) -> None:
        """Send something to every subscriber."""
        for mailboxes in list(self._mailboxes.values()):
            for mailbox in mailboxes:
                mailbox.put(item)

    def _remember(self, child_id: str, parent_id: str) -> None:
        self._parents.pop(child_id, None)  # so that it stands last
        self._parents[child_id] = parent_id
        if len(self._parents) > _MOST_CHILDREN:
            del self._parents[next(iter(self._parents))]

    def _line(self, session_id: str | None) -> list[str]:
        """The session and its ancestors, youngest first."""
        line: list[str] = []
        while session_id is not None and session_id not in line:
            line.append(session_id)
            session_id = self._parents.get(session_id)
        return line
