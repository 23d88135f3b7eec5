"""The view models of a reply's parts: one frozen dataclass for each kind.

Each has a `type`, and an `id` that is safe in HTML and, if possible, equal to the part's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from opencode_sessions.display.tools.cards import Detail, TodoList, ToolState

__all__ = ["File", "Notice", "Patch", "Shown", "Structured", "Text", "Thought", "Todos", "Tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text of the agent.

    Attributes:
        markdown: The text, as the model wrote it.
        growing: Whether more of it will come.
        left_out: How many lines are not shown.
    """

    type: ClassVar[str] = "text"
    id: str
    markdown: str
    growing: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """A reasoning text of the agent.

    Attributes:
        markdown: The text, as the model wrote it.
        growing: Whether more of it will come.
        duration: The duration in seconds, if it is known.
        left_out: How many lines are not shown.
    """

    type: ClassVar[str] = "thought"
    id: str
    markdown: str
    growing: bool = False
    duration: float | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the answer, or one that a tool returned.

    Attributes:
        url: An http or https URL, a URL below the argument `files` of `display`, a `data:` URL of a picture, or empty.
        picture: Whether `url` can be shown as a picture.
        size: The size in bytes, if it is known.
    """

    type: ClassVar[str] = "file"
    id: str
    name: str
    mime: str
    url: str = ""
    picture: bool = False
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """The card of a tool call.

    Attributes:
        tool: The server's name of the tool.
        kind: The kind of action: `command`, `read`, `edit`, …; `mcp` or `custom` for an unknown tool.
        state: `waiting` (it has not begun, or waits for a person), `running`, `done`, `failed` or `refused`.
        verb: The verb for this state: "Reading", "Read", "Could not read".
        icon: The name of a symbol.
        target: The object of the action: a path, a command, a pattern, a URL.
        detail: The content of the card, if there is any.
        error: The reason why it failed or was refused.
        duration: The duration in seconds, if it is known.
        asks: Whether it waits for a person.
        files: The pictures and files that it returned.
    """

    type: ClassVar[str] = "tool"
    id: str
    tool: str
    kind: str
    state: ToolState
    verb: str
    icon: str
    target: str
    detail: Detail | None = None
    error: str = ""
    duration: float | None = None
    asks: bool = False
    files: tuple[File, ...] = ()

    @property
    def title(self) -> str:
        """The card on one line: "Reading shop/cart.py"."""
        return f"{self.verb} {self.target}".rstrip()

    @property
    def note(self) -> str:
        """A short fact for the card's line: `+3 -1`, `exit 1`, `12 files`."""
        return self.detail.note if self.detail is not None and self.state in ("done", "running") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Todos:
    """The agent's last todo list in this turn."""

    type: ClassVar[str] = "todos"
    id: str
    list: TodoList


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The files that a step of the turn has changed, with any tool."""

    type: ClassVar[str] = "patch"
    id: str
    files: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """A structured answer: JSON with indentation."""

    type: ClassVar[str] = "structured"
    id: str
    text: str
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A remark about the turn.

    Attributes:
        kind: `compaction`, `retry`, `finish`, or the server's name of a part.
        reason: With `finish`, the model's reason, such as `length`.
    """

    type: ClassVar[str] = "notice"
    id: str
    kind: str
    icon: str
    title: str
    text: str = ""
    reason: str = ""


Shown: TypeAlias = Text | Thought | Tool | Todos | File | Patch | Structured | Notice
