"""The events of a turn, as values. Each listener gets them in order.

    def listen(event: TurnEvent) -> None:
        match event:
            case ReplyChanged(change=change):
                print(change.delta, end="")
            case TurnFinished(result=result):
                print(result.status)

Each run of a turn begins with one `TurnTaken` and ends with one `TurnFinished` or `TurnLeft`, also after an error. Only
a process that is killed sends no last event. A turn that is recovered, or that was parked, has several runs. A turn
that ends while no process runs it sends a `TurnDropped`.

Events come in order, in the thread or task that runs the turn. While a listener runs, no event of the server is read,
so a listener must be quick. With asyncio, a listener that blocks stops all turns of its event loop. If a listener
raises, the error goes to `on_error`; the turn and the other listeners go on. No database transaction is open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.sessions.events import SessionEnsured
from opencode_sessions.store.messages import MessageState
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.results import TurnResult

__all__ = [
    "AskAnswered",
    "AskRaised",
    "EventsMissed",
    "FirstToken",
    "Listener",
    "Reason",
    "ReplyChanged",
    "SessionCreated",
    "SessionEnsured",
    "StatusChanged",
    "TurnDropped",
    "TurnEvent",
    "TurnFinished",
    "TurnFound",
    "TurnLeft",
    "TurnRecovered",
    "TurnStarted",
    "TurnTaken",
]


Reason = Literal["parked", "released", "superseded", "error"]
"""Why a run ended before its turn: see `TurnLeft`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFound:
    """The turn's row was read. It comes before other events, in the process that runs, answers or cancels the turn.

    Attributes:
        key: The message's key, such as ``"messages:7"``.
        record: The record's key.
        prompt: The prompt's text.
        trace: The span in which the message was made, as a W3C `traceparent`; None without one.
        enqueued_at: When the turn was enqueued; None if it was not.
        started_at: When a runner first started the turn; None before that.
    """

    key: str
    record: str
    prompt: str = field(repr=False)
    trace: str | None
    enqueued_at: datetime | None
    started_at: datetime | None

    @classmethod
    def of(cls, key: str, record: str, row: MessageState) -> TurnFound:
        """The event for a row."""
        return cls(
            key=key,
            record=record,
            prompt=row.prompt,
            trace=row.trace,
            enqueued_at=row.enqueued_at,
            started_at=row.started_at,
        )


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """A run of the turn begins. `run` counts the runs in all processes, from 1."""

    run: int


@dataclass(frozen=True, slots=True)
class TurnLeft:
    """This run has ended, and the turn has not: the next runner continues it.

    | `reason` | why |
    |---|---|
    | `parked` | the turn waits for a person: see `Turn.run` |
    | `released` | see `Turn.release`; or the process, or its task, is being ended |
    | `superseded` | another runner has taken the turn |
    | `error` | `error` is raised: no prompt was sent yet, or the row cannot be written |
    """

    reason: Reason
    error: BaseException


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """A session was created for this turn: the record's first, or one that replaces the lost session `replaced`."""

    session_id: str
    replaced: str | None


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The prompt is about to be sent. It comes again if the session was lost, or the server died before the answer."""

    session_id: str
    prompt_id: str


@dataclass(frozen=True, slots=True)
class TurnRecovered:
    """Another runner began this turn, and the server has its prompt: this runner follows it and does not send it."""

    session_id: str
    prompt_id: str


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first text, thought or tool call came, `seconds` after the prompt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReplyChanged:
    """A part is new or has changed. `change.delta` is the new text, if only text was added.

    `reply` is the whole answer so far. The same object grows after the event.
    """

    change: Change
    reply: Reply


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The session is busy, or waits before it retries a provider."""

    status: SessionStatus


@dataclass(frozen=True, slots=True)
class AskRaised:
    """The agent waits for an answer; `on_ask` of `Turn` says who gives it."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class AskAnswered:
    """The ask was answered, or the tool call that asked was stopped."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """Events of the server may have been missed; the state is being read again."""

    reason: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The turn has ended, and its row says so. It comes once, if this run saw the end."""

    result: TurnResult


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """The turn ended while no process ran it: it was cancelled, or could not begin."""

    result: TurnResult


TurnEvent: TypeAlias = (
    TurnFound
    | TurnTaken
    | SessionEnsured
    | SessionCreated
    | TurnStarted
    | TurnRecovered
    | FirstToken
    | ReplyChanged
    | StatusChanged
    | AskRaised
    | AskAnswered
    | EventsMissed
    | TurnFinished
    | TurnLeft
    | TurnDropped
)

Listener: TypeAlias = Callable[[TurnEvent], object]
"""A function, or an `Observer`, that gets the events of a turn."""
