"""The progress of a sub-agent in a few lines: its last steps, and the end of its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opencode_sessions.protocol.events import (
    Event,
    MessageChanged,
    PartChanged,
    PartDelta,
    PermissionAsked,
    PermissionReplied,
    QuestionAsked,
    QuestionReplied,
    SessionIdle,
    SessionStatus,
)
from opencode_sessions.protocol.plain import said

__all__ = ["ChildProgress", "Progress"]

Json = Mapping[str, Any]

_STEPS = 20
_TAIL = 500
_TITLE = 120
_ASKS = 8
_MESSAGES = 8
_STATUSES = {"busy": "running", "retry": "retrying", "idle": "idle"}


@dataclass
class Progress:
    """The newest part of a sub-agent's work.

    Attributes:
        session_id: The child session in which it works.
        status: `running`, `waiting` for a person, `retrying` a provider, or `idle`.
        steps: Its last 20 tool calls, each as `{"tool", "title", "status"}`, oldest first.
        earlier: How many tool calls there were before those.
        text: The last 500 characters of its text.
        waits_for: The permissions that it asks for, and `question` for a question.
    """

    session_id: str
    status: str = "running"
    steps: list[dict[str, str]] = field(default_factory=list)
    earlier: int = 0
    text: str = ""
    waits_for: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The progress as JSON, in a copy."""
        steps = [dict(step) for step in self.steps]
        return vars(self) | {"steps": steps, "waits_for": list(self.waits_for)}

    @classmethod
    def from_json(cls, value: Json) -> Progress:
        """The progress that `to_json` wrote."""
        return cls(**value)


class ChildProgress:
    """Folds the events of a sub-agent, and of its own sub-agents, into its progress."""

    def __init__(self, session_id: str) -> None:
        self.progress = Progress(session_id)
        self._steps: dict[str, dict[str, str]] = {}
        self._asks: dict[str, str] = {}
        self._answers: dict[str, None] = {}  # its newest own messages, without its prompts
        self._speaking: str | None = None
        self.heard = False  # whether there is anything to show

    def take(self, event: Event) -> bool:
        """Apply an event. True if it changed the progress."""
        match event:
            case MessageChanged(message=message) if message.role == "assistant":
                _remember(self._answers, message.id, None, _MESSAGES)
                changed = False
            case PartChanged(message_id=message_id) if message_id in self._answers:
                changed = self._take_part(event)
            case PartDelta(part_id=self._speaking, field="text"):
                self.progress.text = (self.progress.text + event.delta)[-_TAIL:]
                changed = True
            case SessionStatus(session_id=self.progress.session_id):
                changed = self._stand(_STATUSES.get(event.status, "running"))
            case SessionIdle(session_id=self.progress.session_id):
                self._asks.clear()
                changed = self._stand("idle")
            case _:
                changed = self._take_ask(event)
        self.heard = self.heard or changed
        return changed

    def _take_ask(self, event: Event) -> bool:
        match event:
            case PermissionAsked():
                _remember(self._asks, event.request_id, event.permission[:_TITLE], _ASKS)
            case QuestionAsked():
                _remember(self._asks, event.request_id, "question", _ASKS)
            case PermissionReplied() | QuestionReplied():
                self._asks.pop(event.request_id, None)
            case _:
                return False
        return self._stand("running")

    def _stand(self, status: str) -> bool:
        before = self.progress.status, self.progress.waits_for
        self.progress.waits_for = list(self._asks.values())
        self.progress.status = "waiting" if self._asks else status
        return before != (self.progress.status, self.progress.waits_for)

    def _take_part(self, event: PartChanged) -> bool:
        match said(event.part.get("type")):
            case "tool":
                return self._take_step(event)
            case "text":
                self._speaking = event.part_id
                before, text = self.progress.text, said(event.part.get("text"))
                self.progress.text = text[-_TAIL:]
                return before != self.progress.text
            case "reasoning":
                self._speaking = None  # the deltas of this part are not text
        return False

    def _take_step(self, event: PartChanged) -> bool:
        state = event.part.get("state")
        state = state if isinstance(state, Mapping) else {}
        known = self._steps.get(event.part_id)
        step = {
            "tool": said(event.part.get("tool"))[:_TITLE],
            "title": _about(state)[:_TITLE] or (known or {}).get("title", ""),
            "status": said(state.get("status"))[:_TITLE],
        }
        if step == known:
            return False
        if known is None:
            if len(self._steps) == _STEPS:
                self.progress.earlier += 1
            _remember(self._steps, event.part_id, step, _STEPS)
        else:
            self._steps[event.part_id] = step
        self.progress.steps = list(self._steps.values())
        return True


def _about(state: Json) -> str:
    """A call's title, which comes at its end; before that the first text of its input, such as a path or a command."""
    given = state.get("input")
    texts = (item for item in given.values() if isinstance(item, str)) if isinstance(given, Mapping) else ()
    return said(state.get("title")) or next(iter(texts), "")


def _remember(kept: dict[str, Any], key: str, value: Any, most: int) -> None:
    """Keep only the newest entries."""
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]
