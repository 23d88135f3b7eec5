"""The answer as it grows: ordered parts, folded from events or read from the stored messages.

A reply belongs to one prompt and ignores messages that answer another one. Parts keep the order in which the server
first sent them, which is the order in which it stores them.

    reply = Reply(session_id, prompt_id)
    for event in events:
        for change in reply.apply(event):
            show(change.part, change.delta)
    reply.settle(stored_messages)

The cost of an event depends on the event's size, not on the length of the reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, takewhile
from typing import Any

from opencode_sessions.protocol.agents import SubAgents
from opencode_sessions.protocol.events import (
    Event,
    MessageChanged,
    MessageRemoved,
    PartChanged,
    PartDelta,
    PartRemoved,
    PermissionAsked,
    QuestionAsked,
    SessionFailed,
    SessionIdle,
    StoredMessage,
    TodosChanged,
)
from opencode_sessions.protocol.lineage import Lineage
from opencode_sessions.protocol.parts import BOOKKEEPING, STREAMED, Change, Part
from opencode_sessions.protocol.plain import plain, said
from opencode_sessions.protocol.values import Message

__all__ = ["Change", "Part", "Reply", "Tokens"]

Json = Mapping[str, Any]

_ABORTED = "MessageAbortedError"
_TODOS = "todowrite"
_MOST_EARLY = 1 << 20, 256
"""How many characters of deltas, and for how many parts, are kept before the part itself comes.

The later event with the whole text makes up for the rest.
"""


@dataclass(slots=True)
class Tokens:
    """Tokens of a turn, summed over its messages."""

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass
class Reply:
    """The answer to one prompt.

    Attributes:
        parts: In order, by id.
        messages: The assistant's messages of this turn, in order, by id.
        summaries: The summaries of compactions during the turn. They are no part of the answer, but count for its cost.
        todos: The agent's last whole todo list in this turn.
        error: The server's error, as `{"name", "message", …}`.
        over: Whether the session went idle after the answer had begun. It says nothing about success.
    """

    session_id: str
    prompt_id: str
    parts: dict[str, Part] = field(default_factory=dict)
    messages: dict[str, StoredMessage] = field(default_factory=dict)
    summaries: dict[str, StoredMessage] = field(default_factory=dict)
    todos: tuple[Json, ...] = ()
    error: Json | None = None
    over: bool = False

    def __post_init__(self) -> None:
        self._lineage = Lineage(self.prompt_id)
        self._agents = SubAgents(self.session_id)
        self._steps: set[str] = set()  # the step-starts that were seen
        self._early: dict[str, Part] = {}  # deltas of parts whose kind is not known yet
        self._early_characters = 0

    @classmethod
    def of(cls, session_id: str, prompt_id: str, messages: Iterable[Message]) -> Reply:
        """The reply in stored messages, given oldest first."""
        reply = cls(session_id, prompt_id)
        reply.absorb(messages)
        return reply

    @classmethod
    def resumed(cls, session_id: str, prompt_id: str, parts: Iterable[Json]) -> Reply:
        """The reply of a row, from its stored parts. A part stays until the server says otherwise.

        The row does not hold the messages, so `absorb` or `settle` must follow before events can add text.
        """
        reply = cls(session_id, prompt_id)
        for part in (Part.from_json(value) for value in parts if "id" in value):
            if part.type == "todos":
                reply.todos = tuple((part.data or {}).get("todos", ()))
            else:
                reply.parts[part.id] = part
                reply._agents.link(part)
        return reply

    @property
    def text(self) -> str:
        """The text of all text parts, with an empty line between them."""
        texts = (part.text for part in self.parts.values() if part.type == "text")
        return "\n\n".join(filter(None, texts))

    @property
    def tools(self) -> list[Part]:
        """The tool calls, in order."""
        return [part for part in self.parts.values() if part.type == "tool"]

    @property
    def structured(self) -> Any:
        """The answer as the JSON value that the prompt's schema asked for; None if there is none."""
        values = (message.structured for message in reversed(self.messages.values()))
        return next((value for value in values if value is not None), None)

    @property
    def begun(self) -> bool:
        """Whether the first text, thought or tool call came. Parts from a row alone do not count."""
        spoken = (part for part in self.parts.values() if part.type == "tool" or part.speaks)
        return any(part.message_id in self.messages for part in spoken)

    @property
    def cost(self) -> float:
        """In the currency of the provider's price list (US dollars)."""
        return sum(message.cost for message in self._billed)

    @property
    def tokens(self) -> Tokens:
        """Summed over the turn's messages."""
        total = Tokens()
        for message in self._billed:
            for name, count in message.tokens.items():
                setattr(total, name, getattr(total, name) + count)
        return total

    @property
    def _billed(self) -> Iterator[StoredMessage]:
        return chain(self.messages.values(), self.summaries.values())

    @property
    def last(self) -> StoredMessage | None:
        """The assistant's newest message of this turn."""
        return next(reversed(self.messages.values()), None)

    @property
    def final(self) -> bool:
        """Whether the last message failed, or is complete and asks for no more steps."""
        last = self.last
        return last is not None and (last.error is not None or (last.completed and not last.goes_on))

    @property
    def endless(self) -> int:
        """How many complete messages in a row, up to the newest, ask for another step without a tool call."""
        calling = {part.message_id for part in self.tools}
        ended = (message for message in reversed(self.messages.values()) if message.completed)
        return sum(1 for _ in takewhile(lambda step: step.goes_on and step.id not in calling, ended))

    def to_json(self) -> list[dict[str, Any]]:
        """The parts, for a row; the todo list, if there is one, is the last of them."""
        parts = [*self.parts.values(), *([self._todo_list()] if self.todos else [])]
        return [part.to_json() for part in parts]

    def apply(self, event: Event) -> list[Change]:
        """Apply an event. Events of other turns, and of sessions that are not a sub-agent's, change nothing."""
        if event.session_id != self.session_id:
            return self._agents.take(event)
        match event:
            case PartDelta() | PartChanged() | PartRemoved():
                return self._take_part_event(event)
            case MessageChanged():
                self._take_message(event.message)
            case MessageRemoved():
                self._drop_message(event.message_id)
            case TodosChanged():
                return self._take_todos(event.todos)
            case SessionFailed() if event.error.get("name") != _ABORTED:
                # An abort is stored in its message; the session's event for it can come during the next turn.
                self.error = event.error
            case SessionIdle():
                self.over = self.over or bool(self.messages)
        return []

    def asks(self, event: PermissionAsked | QuestionAsked) -> bool:
        """Does this turn ask, as far as is known, and not another turn of the session?"""
        if event.session_id != self.session_id:
            return self._agents.owns(event.session_id)
        return event.message_id is None or event.message_id in self.messages

    def absorb(self, messages: Iterable[Message]) -> list[Change]:
        """Apply the stored messages, oldest first, after events may have been missed.

        The server stores the text of a part only at its end. So text that is known here and empty there stays.
        """
        changes: list[Change] = []
        for message in self._from_prompt(messages):
            self._take_message(message.info)
            if message.info.id in self.messages:
                changes += self._take_parts(message.info.id, message.parts)
            else:
                for part in message.parts:
                    self._lineage.part(message.info.id, part)
        self.over = self.over or self.final
        return changes

    def settle(self, messages: Iterable[Message]) -> list[Change]:
        """Replace the reply with the stored messages, oldest first, at the end of the turn.

        Values that only events carry are kept: todos, the progress of sub-agents, and the session's error if the stored
        answer is not final. An empty exchange changes nothing.
        """
        stored = Reply.of(self.session_id, self.prompt_id, messages)
        if not stored.messages:
            return []
        known, self.parts, self.messages = self.parts, stored.parts, stored.messages
        self.summaries = stored.summaries
        changes = [
            change
            for part in self.parts.values()
            if (change := self._replace(known.get(part.id), part, stored.last))
        ]
        self._lineage = stored._lineage  # noqa: SLF001 - of the same class
        self.error = stored.error if stored.final else stored.error or self.error
        self.over = self.over or stored.over
        if any(change.part.tool == _TODOS for change in changes):
            changes += self._take_todos(stored.todos)
        if not any(part.tool == _TODOS for part in self.parts.values()):
            self.todos = ()  # the event names no message, so it was of another turn of this session
        return changes

    def _from_prompt(self, messages: Iterable[Message]) -> Iterable[Message]:
        """The messages from the prompt on; earlier ones are of other turns."""
        listed = list(messages)
        place = next((index for index, message in enumerate(listed) if message.info.id == self.prompt_id), -1)
        return listed[place + 1 :]

    def _replace(self, known: Part | None, part: Part, last: StoredMessage | None) -> Change | None:
        heard = ""
        open_still = last is not None and part.message_id == last.id and not part.ended
        broke_off = open_still and not part.text
        if known is not None:
            heard = known.text
            part.progress = known.progress
            if broke_off:
                part.text = (
                    heard  # only deltas carry the text of an open part; a turn that goes on sends it again
                )
        self._agents.link(part)
        if part == known:
            return None
        return Change(part, part.text.removeprefix(heard) if part.text.startswith(heard) else "")

    def _take_message(self, message: StoredMessage) -> None:
        if self._lineage.summarises(message):
            self.summaries[message.id] = message
        known = self.messages.get(message.id)
        if known is None:
            if not self._lineage.owns(message):
                return
            self.error = None  # the server went on, so the error before was not the end
        elif known.completed and not message.completed:
            return  # an old event
        self.messages[message.id] = message
        if message.error is not None:
            self.error = message.error
        if message.completed:
            self._forget(message.id)

    def _drop_message(self, message_id: str) -> None:
        self.messages.pop(message_id, None)
        self.parts = {key: part for key, part in self.parts.items() if part.message_id != message_id}
        self._forget(message_id)

    def _forget(self, message_id: str) -> None:
        """Drop the deltas of this message whose part never came."""
        self._early = {key: part for key, part in self._early.items() if part.message_id != message_id}
        self._early_characters = sum(len(part.text) for part in self._early.values())

    def _take_part_event(self, event: PartDelta | PartChanged | PartRemoved) -> list[Change]:
        if isinstance(event, PartRemoved):
            self.parts.pop(event.part_id, None)
        elif event.message_id not in self.messages:
            if isinstance(event, PartChanged):
                self._lineage.part(event.message_id, event.part)
        elif isinstance(event, PartChanged):
            return self._take_part(event.part_id, event.message_id, event.part)
        elif event.field == "text" and event.delta:
            return self._take_delta(event)
        return []

    def _take_delta(self, event: PartDelta) -> list[Change]:
        part = self.parts.get(event.part_id)
        if part is None:
            self._take_early(event)
            return []
        if part.ended or part.type not in STREAMED:
            return []
        part.grow(event.delta)
        return [Change(part, event.delta)]

    def _take_early(self, event: PartDelta) -> None:
        """Keep a delta until its part comes, which tells whether it is text or reasoning."""
        characters, parts = _MOST_EARLY
        self._early_characters += len(event.delta)
        if self._early_characters > characters or len(self._early) > parts:
            self._early.clear()
            self._early_characters = 0
            return
        part = self._early.setdefault(event.part_id, Part(event.part_id, event.message_id, ""))
        part.grow(event.delta)

    def _take_parts(self, message_id: str, parts: Iterable[Json]) -> list[Change]:
        """Apply the stored parts of a message, in order."""
        changes: list[Change] = []
        earlier: list[Part] = []
        for found in parts:
            part_id = said(found.get("id"))
            if found.get("type") == "step-start":
                changes += self._begin_step(part_id, earlier)
            else:
                changes += self._take_part(part_id, message_id, found)
                earlier += [self.parts[part_id]] if part_id in self.parts else []
        return changes

    def _take_part(self, part_id: str, message_id: str, found: Json) -> list[Change]:
        kind = found.get("type")
        if kind in BOOKKEEPING:
            parts = (part for part in self.parts.values() if part.message_id == message_id)
            return self._begin_step(part_id, parts) if kind == "step-start" else []
        if part_id not in self.parts:
            self.parts[part_id] = self._first(part_id, message_id)
        part = self.parts[part_id]
        change = part.take(found)
        if change is None:
            return []
        self._agents.link(part)
        if part.tool == _TODOS and part.status == "completed":
            return [change, *self._take_todos((part.metadata or {}).get("todos"))]
        return [change]

    def _first(self, part_id: str, message_id: str) -> Part:
        early = self._early.pop(part_id, None)
        if early is None:
            return Part(part_id, message_id, "")
        self._early_characters -= len(early.text)
        return early

    def _begin_step(self, part_id: str, parts: Iterable[Part]) -> list[Change]:
        """The model is asked again. It repeats unfinished texts of this message in new parts, so empty the old ones.

        The server keeps the old parts, empty.
        """
        if part_id in self._steps:
            return []
        self._steps.add(part_id)
        changes: list[Change] = []
        for part in parts:
            if part.type in STREAMED and not part.ended:
                spoke, part.text, part.ended = part.speaks, "", True
                changes += [Change(part)] if spoke else []
        return changes

    def _take_todos(self, found: Any) -> list[Change]:
        if not isinstance(found, list | tuple):
            return []
        todos = tuple(plain(todo) for todo in found if isinstance(todo, Mapping))
        if todos == self.todos:
            return []
        self.todos = todos
        return [Change(self._todo_list())]

    def _todo_list(self) -> Part:
        data = {"todos": list(self.todos)}
        return Part(f"{self.prompt_id}-todos", self.prompt_id, "todos", data=data)
