"""Who watches a turn: callbacks with defaults that do nothing, and the containment of those that raise."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.services.results import TurnResult

__all__ = ["Contained", "Observer"]


class Observer:
    """Subclass it and override what you want to see.

    The calls come in order, from whoever runs the turn, and while one lasts no event is read: be quick. One
    that raises is reported to `on_error` and never stops a turn. No database transaction is open during any.
    """

    def started(self, session_id: str, prompt_id: str) -> None:
        """The prompt is about to be sent. It comes a second time if the session was gone and was recreated."""

    def changed(self, change: Change, reply: Reply) -> None:
        """A part is new or has changed; `change.delta` is the text that came, if only text came."""

    def status(self, status: SessionStatus) -> None:
        """The session is busy, or waits to try a provider again."""

    def gap(self, reason: str) -> None:
        """Events may have been missed; the state is being read again."""

    def finished(self, result: TurnResult) -> None:
        """The turn has ended and its row says so."""


class Contained:
    """Calls an observer; what it raises goes to `on_error`."""

    def __init__(self, observer: Observer, swallow: Callable[[str, str | None, Exception], None]) -> None:
        for name in vars(Observer):
            if inspect.iscoroutinefunction(getattr(observer, name, None)):
                raise ConfigurationError(
                    f"{type(observer).__name__}.{name} must be an ordinary method, also with opencode_sessions.aio: "
                    "nobody would await it"
                )
        self._observer = observer
        self._swallow = swallow
        self.session_id: str | None = None

    def tell(self, call: Callable[[Observer], None]) -> None:
        """Make one call."""
        try:
            call(self._observer)
        except Exception as error:  # noqa: BLE001 - a host's callback must not end the turn
            self._swallow("observe", self.session_id, error)
