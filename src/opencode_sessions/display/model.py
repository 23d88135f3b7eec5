"""A reply's parts as they are shown: one frozen dataclass for each kind.

Each has an `id`, which is safe in HTML and the part's own where that is possible, and a `type`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from opencode_sessions.display.tools.cards import Detail, TodoList, ToolState

__all__ = ["File", "Notice", "Patch", "Shown", "Structured", "Text", "Thought", "Todos", "Tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What the agent says.

    Attributes:
        markdown: As the model wrote it.
        growing: More of it is to come.
        left_out: Lines that are not shown.
    """

    type: ClassVar[str] = "text"
    id: str
    markdown: str
    growing: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What the agent thinks aloud.

    Attributes:
        markdown: As the model wrote it.
        growing: More of it is to come.
        duration: Seconds, if they are known.
        left_out: Lines that are not shown.
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
        url: An http or https one, one below the `files` that `display` was given, a `data:` one of a picture, or empty.
        picture: It can be shown as a picture, from `url`.
        size: In bytes, if it is known.
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
        tool: As the server names it.
        kind: What sort of thing it does: `command`, `read`, `edit`, …; `mcp` or `custom` for a tool that is not
            known here.
        state: `waiting` (it has not begun, or waits for a person), `running`, `done`, `failed` or `refused`.
        verb: As it stands: "Reading", "Read", "Could not read".
        icon: The name of a symbol.
        target: What it is about: a path, a command, a pattern, a URL.
        detail: What it shows, if there is something.
        error: Why it failed or was refused.
        duration: Seconds, if they are known.
        asks: It waits for a person.
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
        """In one line: "Reading shop/cart.py"."""
        return f"{self.verb} {self.target}".rstrip()

    @property
    def note(self) -> str:
        """The fact that fits beside it: `+3 -1`, `exit 1`, `12 files`."""
        return self.detail.note if self.detail is not None and self.state in ("done", "running") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Todos:
    """The agent's todo list, as it last was in this turn."""

    type: ClassVar[str] = "todos"
    id: str
    list: TodoList


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The files that a step of the turn has changed, by whatever tool."""

    type: ClassVar[str] = "patch"
    id: str
    files: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """The answer as data: JSON, laid out."""

    type: ClassVar[str] = "structured"
    id: str
    text: str
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened on the way.

    Attributes:
        kind: `compaction`, `retry`, `finish`, or the server's name of a part.
        reason: Of `finish`, the model's reason, such as `length`.
    """

    type: ClassVar[str] = "notice"
    id: str
    kind: str
    icon: str
    title: str
    text: str = ""
    reason: str = ""


Shown: TypeAlias = Text | Thought | Tool | Todos | File | Patch | Structured | Notice
