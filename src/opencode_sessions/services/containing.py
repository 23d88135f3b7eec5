"""The observer of a turn, contained: what it raises stops nothing; and all that it is told is in the log."""

from __future__ import annotations

from collections.abc import Callable

from opencode_sessions.services.logbook import Logbook
from opencode_sessions.services.observing import Observer, check_observer

__all__ = ["Contained"]


class Contained:
    """Calls an observer; what it raises goes to `on_error`. All but the answer's growth is logged."""

    def __init__(self, observer: Observer, swallow: Callable[[str, str | None, Exception], None]) -> None:
        self._observer = check_observer(observer)
        self._swallow = swallow
        self._logbook = Observer()
        self.session_id: str | None = None

    def begin(self, key: str) -> None:
        """A run of this message's turn begins."""
        self._logbook = Logbook(key)

    def tell(self, call: Callable[[Observer], None]) -> None:
        """Make one call: of the log first, and then of the host's."""
        call(self._logbook)
        try:
            call(self._observer)
        except Exception as error:  # noqa: BLE001 - a host's callback must not end the turn
            self._swallow("observe", self.session_id, error)
