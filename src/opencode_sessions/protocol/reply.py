"""The answer as it grows: ordered parts, folded from events; and the same from the stored messages.

A reply belongs to one prompt: messages that answer another one are not its own. Parts keep the order in
which the server first spoke of them, which is the order in which it stores them.

    reply = Reply(session_id, prompt_id)
    for event in events:
        for change in reply.apply(event):
            show(change.part, change.delta)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from opencode_sessions.protocol.events import (
    Event,
    MessageChanged,
    MessageRemoved,
    PartChanged,
    PartDelta,
    PartRemoved,
    SessionFailed,
    SessionIdle,
    StoredMessage,
)
from opencode_sessions.protocol.values import Message

__all__ = ["Change", "Part", "Reply", "Tokens"]

Json = Mapping[str, Any]

_STREAMED = ("text", "reasoning")
_GOES_ON = (None, "tool-calls", "unknown")
_BOOKKEEPING = ("step-start", "step-finish", "snapshot")


@dataclass(slots=True)
class Part:
    """One piece of a reply. `type` is `text`, `reasoning`, `tool`, or another of the server's kinds.

    Attributes:
        text: What a text or reasoning part says so far.
        tool: A tool call's tool; `call_id` names the call.
        status: A tool call's `pending`, `running`, `completed` or `error`.
        data: A part of another kind (file, patch, retry, …) as the server has it.
    """

    id: str
    message_id: str
    type: str
    text: str = ""
    tool: str | None = None
    call_id: str | None = None
    status: str | None = None
    input: Json | None = None
    title: str | None = None
    output: str | None = None
    error: str | None = None
    metadata: Json | None = None
    data: Json | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe and string-keyed; what is absent is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None and value != ""}

    @classmethod
    def from_json(cls, value: Json) -> Part:
        """What `to_json` gave."""
        return cls(**value)


@dataclass(slots=True)
class Tokens:
    """Tokens of a turn, summed over its messages."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What one event changed: a part, as it is now; `delta` is the text that was added, if only that."""

    part: Part
    delta: str = ""


@dataclass
class Reply:
    """The answer to one prompt.

    Attributes:
        parts: In order, by id.
        error: What the server said went wrong, as `{"name", "message", …}`.
        over: The session went idle after it had begun to answer; whether all went well, it does not say.
    """

    session_id: str
    prompt_id: str
    parts: dict[str, Part] = field(default_factory=dict)
    messages: dict[str, StoredMessage] = field(default_factory=dict)
    error: Json | None = None
    over: bool = False
    _early: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, session_id: str, prompt_id: str, messages: Iterable[Message]) -> Reply:
        """The reply that stored messages hold, given oldest first."""
        reply = cls(session_id, prompt_id)
        reply.absorb(messages)
        return reply

    @property
    def text(self) -> str:
        """All that it says, its text parts set apart by an empty line."""
        return "\n\n".join(part.text for part in self.parts.values() if part.type == "text" and part.text)

    @property
    def tools(self) -> list[Part]:
        """The tool calls, in order."""
        return [part for part in self.parts.values() if part.type == "tool"]

    @property
    def begun(self) -> bool:
        """The first token was seen: a text, a thought or a tool call."""
        return any(part.text or part.type == "tool" for part in self.parts.values())

    @property
    def cost(self) -> float:
        """In the currency of the provider's price list (US dollars)."""
        return sum(message.cost for message in self.messages.values())

    @property
    def tokens(self) -> Tokens:
        """Summed over the turn's messages."""
        total = Tokens()
        for message in self.messages.values():
            for name, count in message.tokens.items():
                setattr(total, name, getattr(total, name) + count)
        return total

    @property
    def last(self) -> StoredMessage | None:
        """The assistant's newest message of this turn."""
        return next(reversed(self.messages.values()), None)

    @property
    def final(self) -> bool:
        """Its last message failed, or is complete and asks for no more steps."""
        last = self.last
        if last is None:
            return False
        return last.error is not None or (last.completed and last.finish not in _GOES_ON)

    def to_json(self) -> list[dict[str, Any]]:
        """The parts, for a row."""
        return [part.to_json() for part in self.parts.values()]

    def apply(self, event: Event) -> list[Change]:
        """Fold an event in; events of other sessions and prompts change nothing."""
        if event.session_id != self.session_id:
            return []
        match event:
            case PartDelta(message_id=message_id) if message_id in self.messages:
                return self._take_delta(event)
            case PartChanged(message_id=message_id) if message_id in self.messages:
                return self._take_part(event.part_id, message_id, event.part)
            case PartRemoved():
                self.parts.pop(event.part_id, None)
            case MessageChanged():
                self._take_message(event.message)
            case MessageRemoved():
                self._drop_message(event.message_id)
            case SessionFailed():
                self.error = event.error
            case SessionIdle():
                self.over = self.over or bool(self.messages)
        return []

    def absorb(self, messages: Iterable[Message]) -> list[Change]:
        """Take in what is stored, oldest first, after events may have been missed.

        Deltas are not stored before their part ends: text that is known here and empty there stands.
        """
        changes: list[Change] = []
        for message in messages:
            self._take_message(message.info)
            for part in message.parts if message.info.id in self.messages else ():
                changes += self._take_part(str(part.get("id")), message.info.id, part)
        self.over = self.over or self.final
        return changes

    def _take_message(self, message: StoredMessage) -> None:
        if message.role == "assistant" and message.parent_id == self.prompt_id:
            self.messages[message.id] = message
            if message.error is not None:
                self.error = message.error

    def _drop_message(self, message_id: str) -> None:
        self.messages.pop(message_id, None)
        self.parts = {key: part for key, part in self.parts.items() if part.message_id != message_id}

    def _take_delta(self, event: PartDelta) -> list[Change]:
        if event.field != "text":
            return []
        part = self.parts.get(event.part_id)
        if part is None:
            # Its part, which says whether this is text or reasoning, is still to come.
            self._early[event.part_id] = self._early.get(event.part_id, "") + event.delta
            return []
        part.text += event.delta
        return [Change(part, event.delta)]

    def _take_part(self, part_id: str, message_id: str, found: Json) -> list[Change]:
        kind = str(found.get("type") or "")
        if kind in _BOOKKEEPING:
            return []
        known = self.parts.get(part_id)
        before = replace(known) if known is not None else None
        part = self.parts.setdefault(part_id, Part(part_id, message_id, kind))
        part.type = kind
        if kind in _STREAMED:
            # A part that is told empty says nothing of the deltas that came before it.
            part.text = str(found.get("text") or "") or part.text or self._early.pop(part_id, "")
        elif kind == "tool":
            _take_tool(part, found)
        else:
            part.data = {key: value for key, value in found.items() if key not in _ENVELOPE}
        if part == before:
            return []
        heard = before.text if before is not None else ""
        return [Change(part, part.text.removeprefix(heard) if part.text.startswith(heard) else "")]


_ENVELOPE = ("id", "messageID", "sessionID", "type")


def _take_tool(part: Part, found: Json) -> None:
    state = found.get("state")
    state = state if isinstance(state, Mapping) else {}
    part.tool = found.get("tool") or part.tool
    part.call_id = found.get("callID") or part.call_id
    part.status = state.get("status") or part.status
    # An update tells what is new; what it leaves out stands.
    part.input = state.get("input") or part.input
    part.title = state.get("title") or part.title
    part.output = state.get("output") or part.output
    part.error = state.get("error") or part.error
    part.metadata = state.get("metadata") or part.metadata
