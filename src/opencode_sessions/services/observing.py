"""Who watches a turn: callbacks with defaults that do nothing."""

from __future__ import annotations

import inspect

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.services.asks import Ask
from opencode_sessions.services.checks import check
from opencode_sessions.services.results import TurnResult

__all__ = ["Observer", "check_observer"]


class Observer:
    """Subclass it and override what you want to see.

    The calls come in order, from whoever runs the turn, and while one lasts no event is read: be quick. In asyncio
    they come in the turn's own task, so one that blocks stops all turns of its event loop. One that raises is
    reported to `on_error` and never stops a turn. No database transaction is open during any.
    """

    def created(self, session_id: str, replaced: str | None) -> None:
        """A session was made for this turn: the first one of its record, or in place of one that was gone."""

    def started(self, session_id: str, prompt_id: str) -> None:
        """The prompt is about to be sent: again if the session was gone, or the server died over it."""

    def recovered(self, session_id: str, prompt_id: str) -> None:
        """Another runner began this turn, and its prompt is there: it is followed, not sent."""

    def first_token(self, seconds: float) -> None:
        """The first text, thought or tool call has come, so long after the prompt."""

    def changed(self, change: Change, reply: Reply) -> None:
        """A part is new or has changed; `change.delta` is the text that came, if only text came."""

    def status(self, status: SessionStatus) -> None:
        """The session is busy, or waits to try a provider again."""

    def asked(self, ask: Ask) -> None:
        """The agent waits for a person to answer; see `Turn`'s `on_ask` for who does."""

    def answered(self, ask: Ask) -> None:
        """It does no more: somebody answered, or what asked was stopped."""

    def gap(self, reason: str) -> None:
        """Events may have been missed; the state is being read again."""

    def finished(self, result: TurnResult) -> None:
        """The turn has ended and its row says so, whoever ended it. Once, if this run saw it end."""


def check_observer(observer: Observer) -> Observer:
    """Refuse what is none, and one with coroutine functions.

    Raises:
        ConfigurationError: It is none, or has some.
    """
    check(isinstance(observer, Observer), "observer must be an object of a subclass of Observer", observer)
    for name in vars(Observer):
        if inspect.iscoroutinefunction(getattr(observer, name, None)):
            raise ConfigurationError(
                f"{type(observer).__name__}.{name} must be an ordinary method, also with opencode_sessions.aio: "
                "nobody would await it"
            )
    return observer
