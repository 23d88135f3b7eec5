"""The listeners of a turn: the log first, and then those of the host."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from opencode_sessions.errors import TurnParkedError, TurnReleasedError, TurnTakenError
from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.sessions.events import Action, SessionEnsured
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.events import (
    AskAnswered,
    AskRaised,
    EventsMissed,
    FirstToken,
    Listener,
    Reason,
    ReplyChanged,
    SessionCreated,
    StatusChanged,
    TurnDropped,
    TurnEvent,
    TurnFinished,
    TurnFound,
    TurnLeft,
    TurnRecovered,
    TurnStarted,
    TurnTaken,
)
from opencode_sessions.turns.results import TurnResult
from opencode_sessions.validation import check_ordinary, no_coroutine, require

__all__ = ["Listeners", "LoggingObserver", "Observer", "Observers", "drop", "listeners_of"]

_log = logging.getLogger("opencode_sessions.turn")


class Observer:
    """A listener with a method for each event: subclass it, and override the methods of the events that you need.

    `opencode_sessions.turns.events` says when a listener is called, and what it may do.
    """

    def __call__(self, event: TurnEvent) -> object:
        """Call the event's method with the event's values."""
        method = getattr(self, _METHODS[type(event)])
        if isinstance(event, TurnFound):
            return method(event)
        return method(*(getattr(event, name) for name in event.__slots__))

    def found(self, turn: TurnFound) -> None:
        """See `TurnFound`."""

    def taken(self, run: int) -> None:
        """See `TurnTaken`."""

    def ensured(self, action: Action, record: str, session_id: str, created: bool, seconds: float) -> None:  # noqa: FBT001 - as the event has it
        """See `SessionEnsured`."""

    def created(self, session_id: str, replaced: str | None) -> None:
        """See `SessionCreated`."""

    def started(self, session_id: str, prompt_id: str) -> None:
        """See `TurnStarted`."""

    def recovered(self, session_id: str, prompt_id: str) -> None:
        """See `TurnRecovered`."""

    def first_token(self, seconds: float) -> None:
        """See `FirstToken`."""

    def changed(self, change: Change, reply: Reply) -> None:
        """See `ReplyChanged`."""

    def status(self, status: SessionStatus) -> None:
        """See `StatusChanged`."""

    def asked(self, ask: Ask) -> None:
        """See `AskRaised`."""

    def answered(self, ask: Ask) -> None:
        """See `AskAnswered`."""

    def gap(self, reason: str) -> None:
        """See `EventsMissed`."""

    def finished(self, result: TurnResult) -> None:
        """See `TurnFinished`."""

    def left(self, reason: Reason, error: BaseException) -> None:
        """See `TurnLeft`."""

    def dropped(self, result: TurnResult) -> None:
        """See `TurnDropped`."""


_METHODS: dict[type[TurnEvent], str] = {
    TurnTaken: "taken",
    TurnFound: "found",
    SessionEnsured: "ensured",
    SessionCreated: "created",
    TurnStarted: "started",
    TurnRecovered: "recovered",
    FirstToken: "first_token",
    ReplyChanged: "changed",
    StatusChanged: "status",
    AskRaised: "asked",
    AskAnswered: "answered",
    EventsMissed: "gap",
    TurnFinished: "finished",
    TurnLeft: "left",
    TurnDropped: "dropped",
}

Observers: TypeAlias = Listener | Sequence[Listener] | None
"""The type of the argument `observer` of `Turn`."""


def listeners_of(observer: Observers) -> tuple[Listener, ...]:
    """The listeners, as a tuple.

    Raises:
        ConfigurationError: One of them cannot be called, or has coroutine functions.
    """
    if observer is None:
        return ()
    given = (observer,) if callable(observer) or not isinstance(observer, Iterable) else tuple(observer)
    for listener in given:
        _check(listener)
    return given


def _check(listener: object) -> None:
    require(
        callable(listener) and not isinstance(listener, type),
        "observer must be an object of a subclass of Observer, a function that takes a TurnEvent, or several of them",
        listener,
    )
    check_ordinary(_name(listener), listener)
    for name in vars(Observer) if isinstance(listener, Observer) else ():
        check_ordinary(f"{type(listener).__name__}.{name}", getattr(listener, name, None))


def _name(listener: object) -> str:
    return type(listener).__name__ if isinstance(listener, Observer) else "observer"


class Listeners:
    """Sends events to the log and to every listener of a turn. A listener's error goes to `on_error`."""

    def __init__(
        self, listeners: Iterable[Listener], suppressed: Callable[[str, str | None, Exception], None]
    ) -> None:
        self._listeners = tuple(listeners)
        self._suppressed = suppressed
        self._log: Listener = Observer()
        self._ended = False
        self.session_id: str | None = None

    @contextmanager
    def run(self, turn: TurnFound, run: int) -> Iterator[None]:
        """Report a run of a turn, from here to its end."""
        self._log, self._ended = LoggingObserver(turn.key), False
        self.tell(turn)
        self.tell(TurnTaken(run))
        try:
            yield
        except BaseException as error:
            if not self._ended:
                self.tell(TurnLeft(_reason_of(error), error))
            raise

    @contextmanager
    def also(self, listener: Listener) -> Iterator[None]:
        """Add a listener for the length of a `with` block."""
        self._listeners = (*self._listeners, listener)
        try:
            yield
        finally:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def tell(self, event: TurnEvent) -> None:
        """Send one event."""
        self._ended |= isinstance(event, TurnFinished)
        self._log(event)
        for listener in self._listeners:
            try:
                no_coroutine(_name(listener), listener(event))
            except Exception as error:  # noqa: BLE001 - a host's callback must not end the turn
                self._suppressed("observe", self.session_id, error)


def drop(
    turn: TurnFound,
    result: TurnResult,
    listeners: Iterable[Listener],
    report: Callable[[Exception, str, str], object],
) -> None:
    """Send the events of a turn that ended before it could begin; `report` is `JobHost.report`."""

    def suppressed(action: str, _session_id: str | None, error: Exception) -> None:
        report(error, action, turn.key)

    told = Listeners(listeners, suppressed)
    told.tell(turn)
    told.tell(TurnDropped(result))


def _reason_of(error: BaseException) -> Reason:
    match error:
        case TurnParkedError():
            return "parked"
        case TurnReleasedError():
            return "released"
        case TurnTakenError():
            return "superseded"
    return "error" if isinstance(error, Exception) else "released"


class LoggingObserver(Observer):
    """Logs one run of a turn, or its cancellation: every event except the growth of the answer.

    Each record has `event`, the name of the observer's method, and `message_key`, `session_id`, `prompt_id`, `elapsed`
    (the seconds since the turn was started) and the method's arguments. Durations are in seconds. The process that
    cancels a turn logs the event `cancelled`, with `by`; its `elapsed` begins with the cancel.
    """

    def __init__(self, key: str, session_id: str | None = None, prompt_id: str | None = None) -> None:
        self._key = key
        self._began = time.monotonic()
        self._session_id = session_id
        self._prompt_id = prompt_id

    def created(self, session_id: str, replaced: str | None) -> None:
        """See `SessionCreated`."""
        self._session_id, self._prompt_id = session_id, None
        said = f" in place of {replaced}" if replaced else ""
        self._note("created", f"session {session_id} was made{said}", replaced=replaced)

    def started(self, session_id: str, prompt_id: str) -> None:
        """See `TurnStarted`."""
        self._session_id, self._prompt_id = session_id, prompt_id
        self._note("started", f"the prompt goes to session {session_id}")

    def recovered(self, session_id: str, prompt_id: str) -> None:
        """See `TurnRecovered`."""
        self._session_id, self._prompt_id = session_id, prompt_id
        self._note("recovered", f"the turn is recovered: its prompt is in session {session_id}")

    def first_token(self, seconds: float) -> None:
        """See `FirstToken`."""
        self._note("first_token", f"the answer began after {seconds:.2f} s", seconds=seconds)

    def asked(self, ask: Ask) -> None:
        """See `AskRaised`."""
        what = f"a {ask.kind}" + (f" ({ask.permission})" if ask.permission else "")
        self._note("asked", f"the turn waits for {what}", **_facts(ask))

    def answered(self, ask: Ask) -> None:
        """See `AskAnswered`."""
        said = f"the turn waits no more for what it asked {ask.age:.2f} s ago"
        self._note("answered", said, seconds=ask.age, **_facts(ask))

    def gap(self, reason: str) -> None:
        """See `EventsMissed`."""
        self._note("gap", f"events may have been missed: {reason}", reason=reason)

    def finished(self, result: TurnResult) -> None:
        """See `TurnFinished`."""
        self._note(
            "finished",
            f"the turn is {result.status}",
            status=str(result.status),
            error=result.error["name"] if result.error else None,
            duration=result.duration,
            first_token=result.first_token,
            cost=result.cost,
        )

    def left(self, reason: Reason, error: BaseException) -> None:
        """See `TurnLeft`."""
        said = f"the turn is left to the next runner: {reason}"
        self._note("left", said, reason=reason, error=type(error).__name__)

    def cancelled(self, by: str) -> None:
        """The row says that the turn is cancelled; the agent is stopped next."""
        self._note("cancelled", f"the turn is cancelled by {by}", by=by)

    def _note(self, event: str, said: str, **facts: object) -> None:
        about = {
            "event": event,
            "message_key": self._key,
            "session_id": self._session_id,
            "prompt_id": self._prompt_id,
            "elapsed": time.monotonic() - self._began,
        }
        _log.info("%s: %s", self._key, said, extra=about | facts)


def _facts(ask: Ask) -> dict[str, object]:
    return {"ask_id": ask.id, "kind": ask.kind, "permission": ask.permission, "asking": ask.session_id}
