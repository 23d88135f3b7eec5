"""`Outbox`: notes that wait to be sent. It is not locked."""

from __future__ import annotations

from opencode_sessions.live.notes import Delta, Note

__all__ = ["Outbox"]

_MOST = 5_000
"""How many notes wait at most. If more come, all are dropped, because nobody takes them: watchers poll the rows."""


class Outbox:
    """Notes by their topics, in order. Deltas that follow each other are joined while they wait."""

    def __init__(self) -> None:
        self._topics: dict[str, list[Note]] = {}
        self._count = 0

    def put(self, topic: str, note: Note) -> None:
        """Add a note."""
        for piece in note.pieces() if isinstance(note, Delta) else (note,):
            self._add(self._topics.setdefault(topic, []), piece)
        if self._count > _MOST:
            self.take()

    def take(self) -> list[tuple[str, Note]]:
        """Remove and return all notes."""
        taken = [(topic, note) for topic, notes in self._topics.items() for note in notes]
        self._topics, self._count = {}, 0
        return taken

    def _add(self, notes: list[Note], note: Note) -> None:
        last = notes[-1] if notes else None
        if isinstance(last, Delta) and isinstance(note, Delta) and (joined := last.joined(note)):
            notes[-1] = joined
        elif last != note:
            notes.append(note)
            self._count += 1
