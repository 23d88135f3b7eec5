"""What happens in a turn, as values: whoever listens to it is told of each in turn.

    def listen(event: TurnEvent) -> None:
        match event:
            case ReplyChanged(change=change):
                print(change.delta, end="")
            case TurnFinished(result=result):
                print(result.status)

Events come in order, from whoever runs the turn. While a listener is called, no event of the server is read: be quick.
With asyncio it is called in the turn's own task, so one that blocks stops all turns of its event loop. One that raises
is reported to `on_error`, and stops neither the turn nor the other listeners. No database transaction is open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from opencode_sessions.protocol.events import SessionStatus
from opencode_sessions.protocol.reply import Change, Reply
from opencode_sessions.turns.asks import Ask
from opencode_sessions.turns.results import TurnResult

__all__ = [
    "AskAnswered",
    "AskRaised",
    "EventsMissed",
    "FirstToken",
    "Listener",
    "ReplyChanged",
    "SessionCreated",
    "StatusChanged",
    "TurnEvent",
    "TurnFinished",
    "TurnRecovered",
    "TurnStarted",
]


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


TurnEvent: TypeAlias = (
    SessionCreated
    | TurnStarted
    | TurnRecovered
    | FirstToken
    | ReplyChanged
    | StatusChanged
    | AskRaised
    | AskAnswered
    | EventsMissed
    | TurnFinished
)

Listener: TypeAlias = Callable[[TurnEvent], object]
"""Who is told of a turn. An `Observer` is one."""
