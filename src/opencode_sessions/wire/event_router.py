"""Who hears which event: the demultiplexer of the shared stream. Pure bookkeeping, no waiting."""

from __future__ import annotations

from collections import defaultdict

from opencode_sessions.protocol.events import Event, SessionChanged, SessionDeleted
from opencode_sessions.runtime.ports import Mailbox
from opencode_sessions.wire.backlog import Item

__all__ = ["EventRouter"]

_MOST_CHILDREN = 100_000
"""How many sessions' parents are remembered: those that were last heard of as a session."""


class EventRouter:
    """Mailboxes by session id. A child session's events go to those who listen to its ancestors, too.

    What an event costs depends on how many listen to its own session, not on how many listen to others.
    """

    def __init__(self) -> None:
        self._mailboxes: defaultdict[str | None, list[Mailbox]] = defaultdict(list)
        self._parents: dict[str, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._mailboxes.values()))

    def add(self, session_id: str | None, mailbox: Mailbox) -> None:
        """Hand `mailbox` the events of this session (None: of all) from now on."""
        # A new list, never a changed one: deliver() may be walking the old one in its own thread.
        self._mailboxes[session_id] = [*self._mailboxes[session_id], mailbox]

    def discard(self, session_id: str | None, mailbox: Mailbox) -> None:
        """No more."""
        rest = [other for other in self._mailboxes.get(session_id, ()) if other is not mailbox]
        if rest:
            self._mailboxes[session_id] = rest
        else:
            self._mailboxes.pop(session_id, None)

    def hears(self, session_id: str) -> bool:
        """Does anybody listen to this session, as it is known now whose child it is?"""
        mailboxes = self._mailboxes
        if session_id in mailboxes or None in mailboxes:
            return True
        return any(ancestor in mailboxes for ancestor in self._line(session_id))

    def deliver(self, event: Event) -> None:
        """Hand an event to whom it concerns. One of the server itself concerns those who listen to all."""
        if isinstance(event, SessionChanged) and event.session_id and event.parent_id:
            self._remember(event.session_id, event.parent_id)
        for session_id in (*self._line(event.session_id), None):
            for mailbox in self._mailboxes.get(session_id, ()):
                mailbox.put(event)
        if isinstance(event, SessionDeleted) and event.session_id:
            self._parents.pop(event.session_id, None)

    def broadcast(self, item: Item) -> None:
        """Hand something to everybody."""
        for mailboxes in list(self._mailboxes.values()):
            for mailbox in mailboxes:
                mailbox.put(item)

    def _remember(self, child_id: str, parent_id: str) -> None:
        self._parents.pop(child_id, None)  # so that it stands last
        self._parents[child_id] = parent_id
        if len(self._parents) > _MOST_CHILDREN:
            del self._parents[next(iter(self._parents))]

    def _line(self, session_id: str | None) -> list[str]:
        """The session and its ancestors, from the youngest."""
        line: list[str] = []
        while session_id is not None and session_id not in line:
            line.append(session_id)
            session_id = self._parents.get(session_id)
        return line
