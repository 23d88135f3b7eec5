"""A tool call as its row has it, read with care: every field is there, and of the type that it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opencode_sessions.display.coerce import Json, one_line, section
from opencode_sessions.display.tools.cards import ToolState
from opencode_sessions.display.tools.paths import short
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import text

__all__ = ["Call", "state_of", "why_not"]

# What a call's error says when a person or a rule refused it (1.18.33).
_REJECTED = "The user rejected permission"
_DISMISSED = "The user dismissed this question"
_DENIED = "The user has specified a rule which prevents"
_REFUSALS = (_REJECTED, _DISMISSED, _DENIED)
_FEEDBACK = "with the following feedback: "
_OFFERED = " Available tools: "

_STATES: dict[str, ToolState] = {"pending": "waiting", "completed": "done"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call. `given` is its input; `root` is the worktree, or empty if it is unknown."""

    tool: str
    state: ToolState
    given: Json
    output: str
    error: str
    metadata: Json
    title: str
    progress: Json
    root: str

    @classmethod
    def of(cls, part: Json, root: str) -> Call:
        """The call in a part of the type `tool`."""
        tool, status, error = (said(part.get(name)) for name in ("tool", "status", "error"))
        return cls(
            tool=tool,
            state=state_of(tool, status, error),
            given=section(part, "input"),
            output=said(part.get("output")),
            error=error,
            metadata=section(part, "metadata"),
            title=one_line(part.get("title")),
            progress=section(part, "progress"),
            root=root,
        )

    def said(self, name: str) -> str:
        """A whole text of the input."""
        return said(self.given.get(name))

    def path(self, name: str = "filePath") -> str:
        """A path of the input, relative to the worktree."""
        return short(self.said(name), self.root)

    def told(self, name: str) -> Any:
        """A value of the metadata."""
        return self.metadata.get(name)


def state_of(tool: str, status: str, error: str = "") -> ToolState:
    """The card's state. The server calls a call of an unknown tool `completed`; for us it failed."""
    if tool == "invalid":
        return "failed"
    if status == "error":
        return "refused" if error.startswith(_REFUSALS) else "failed"
    return _STATES.get(status, "running")


def why_not(call: Call) -> str:
    """The reason why a call failed or was refused, for people: without the rules and the list of other tools."""
    error = call.error.removeprefix("Error: ")
    if error.startswith(_REJECTED):
        feedback = error.partition(_FEEDBACK)[2]
        return text("Refused: {feedback}", feedback=feedback) if feedback else text("Refused.")
    if error.startswith(_DISMISSED):
        return text("Not answered.")
    if error.startswith(_DENIED):
        return text("A permission rule forbids it.")
    if call.tool == "invalid":
        return call.said("error").partition(_OFFERED)[0] or call.output
    return error
