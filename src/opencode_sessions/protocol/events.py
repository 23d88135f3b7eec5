"""The server's events, as typed values.

A dialect (`wire/v1`) turns the server's JSON into these; nothing above it sees that JSON. An event
of an unknown kind is an `Unknown`, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Connected",
    "Event",
    "Gap",
    "Heartbeat",
    "MessageChanged",
    "MessageRemoved",
    "PartChanged",
    "PartDelta",
    "PartRemoved",
    "PermissionAsked",
    "PermissionReplied",
    "QuestionAsked",
    "QuestionReplied",
    "SessionChanged",
    "SessionDeleted",
    "SessionFailed",
    "SessionIdle",
    "SessionStatus",
    "StoredMessage",
    "TodosChanged",
    "Unknown",
]

Json = Mapping[str, Any]

_GOES_ON = (None, "tool-calls", "unknown")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message's envelope: its role, parent, cost and end.

    `structured` is the JSON value that answers a prompt with a schema. `time` has `created` and `completed`, in
    milliseconds since 1970 by the server's clock.
    """

    id: str
    session_id: str
    role: str
    parent_id: str | None = None
    completed: bool = False
    finish: str | None = None
    error: Json | None = None
    cost: float = 0.0
    tokens: Mapping[str, int] = field(default_factory=dict)
    structured: Any = None
    provider: str | None = None
    model: str | None = None
    agent: str | None = None
    time: Mapping[str, int] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """Whether the message is complete, and the server asks the model again after it."""
        # A structured answer is a tool call that ends the turn.
        unfinished = self.finish in _GOES_ON and self.structured is None
        return self.completed and self.error is None and unfinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the stream. `session_id` is its session; None for the server itself."""

    session_id: str | None = None
    directory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Event):
    """The first event of every connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Event):
    """The server is alive (every 10 s in 1.18.33). It says nothing about any turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Event):
    """Ours, not the server's: events may have been missed here; read the state again."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChanged(Event):
    """A session was created or updated."""

    created: bool
    parent_id: str | None
    title: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted(Event):
    """A session was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus(Event):
    """Busy, idle, or waiting to retry a provider (then with attempt, message and next, in epoch ms)."""

    status: str
    attempt: int | None = None
    message: str | None = None
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdle(Event):
    """The session's loop ended. It says nothing about success, and can come twice or early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFailed(Event):
    """`session.error`, with the error as `{"name", "message", …}`. It need not name a session."""

    error: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageChanged(Event):
    """A message's envelope is new or changed."""

    message: StoredMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRemoved(Event):
    """A message was removed."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChanged(Event):
    """A part is new or has changed. `part` is the whole part, in the server's own JSON."""

    part_id: str
    message_id: str
    part: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDelta(Event):
    """More text for one part. Reasoning also says `field="text"`: its part tells them apart."""

    part_id: str
    message_id: str
    field: str
    delta: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRemoved(Event):
    """A part was removed."""

    part_id: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionAsked(Event):
    """The agent waits for a permission, without a deadline of the server."""

    request_id: str
    permission: str
    patterns: tuple[str, ...]
    metadata: Json
    always: tuple[str, ...] = ()
    call_id: str | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionReplied(Event):
    """A permission ask was answered: `once`, `always` or `reject`."""

    request_id: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked(Event):
    """The agent asks a person, and waits without a deadline of the server."""

    request_id: str
    questions: tuple[Json, ...]
    call_id: str | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionReplied(Event):
    """A question was answered, or rejected (`answers` is then None)."""

    request_id: str
    answers: tuple[tuple[str, ...], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TodosChanged(Event):
    """The agent's todo list, whole."""

    todos: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(Event):
    """A kind that this library does not know, passed through as it came."""

    kind: str
    properties: Json
