"""The events of a turn, as values: each listener gets them in order.

    def listen(event: TurnEvent) -> None:
        match event:
            case ReplyChanged(change=change):
                print(change.delta, end="")
            case TurnFinished(result=result):
                print(result.status)

Each run of a turn begins with `TurnTaken`, and ends with `TurnFinished` or `TurnLeft`, once, whatever breaks in; only a
process that is killed tells nothing any more. A turn that is recovered, or that was parked, has several runs. A turn
that ends while nobody runs it has a `TurnDropped`.

Events come in order, from whoever runs the turn. While a listener is called, no event of the server is read: be quick.
With asyncio it is called in the turn's own task, so one that blocks stops all turns of its event loop. One that raises
is reported to `on_error`, and stops neither the turn nor the other listeners. No database transaction is open.
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
    """The turn's row was read, before other events: by its runner, or by the process that answered or cancelled it.

    Attributes:
        key: What names the message, such as ``"messages:7"``.
        record: What names its record.
        prompt: What is asked.
        trace: The span in which the message was made, as a W3C `traceparent`, if there was one.
        enqueued_at: When the turn was enqueued, if it was.
        started_at: When it was first taken, if it was.
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
    """A run of the turn begins: number `run` of all processes, counted from 1."""

    run: int


@dataclass(frozen=True, slots=True)
class TurnLeft:
    """The run has ended before the turn, which is left to the next runner.

    | `reason` | why |
    |---|---|
    | `parked` | a person is waited for: see `Turn.run` |
    | `released` | see `Turn.release`; or the process, or its task, is being ended |
    | `superseded` | another runner has taken the turn |
    | `error` | `error` is raised: nothing was sent yet, or the row cannot be written |
    """

    reason: Reason
    error: BaseException


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """A session was made for this turn: the first one of its record, or in place of `replaced`, which was gone."""

    session_id: str
    replaced: str | None


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The prompt is about to be sent: again if the session was gone, or the server died over it."""

    session_id: str
    prompt_id: str


@dataclass(frozen=True, slots=True)
class TurnRecovered:
    """Another runner began this turn, and its prompt is there: it is followed, not sent."""

    session_id: str
    prompt_id: str


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first text, thought or tool call has come, so many `seconds` after the prompt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReplyChanged:
    """A part is new or has changed; `change.delta` is the text that came, if only text came.

    `reply` is all of the answer. It goes on growing after the event.
    """

    change: Change
    reply: Reply


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The session is busy, or waits to try a provider again."""

    status: SessionStatus


@dataclass(frozen=True, slots=True)
class AskRaised:
    """The agent waits for a person to answer; see `Turn`'s `on_ask` for who does."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class AskAnswered:
    """It waits no more: somebody answered, or what asked was stopped."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """Events of the server may have been missed; the state is being read again."""

    reason: str


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The turn has ended and its row says so, whoever ended it. Once, if this run saw it end."""

    result: TurnResult


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """The turn has ended while nobody ran it: it was cancelled, or could not begin."""

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
"""Gets the events of a turn: a function, or an `Observer`."""
