"""The tools of the server: the kind, the symbol and the verbs of each.

The tools of 1.18.33 are known (`/experimental/tool/ids`, and those that an experiment or an MCP server adds), and a few
of earlier and later releases. Any other tool belongs to an MCP server or a plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from opencode_sessions.display.tools import titles
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.cards import ToolState
from opencode_sessions.display.tools.naming import provider_of
from opencode_sessions.texts import text

__all__ = ["ASK", "DONE", "TOOLS", "ToolKind", "kind_of"]

ASK, DONE = "ask", "done"
"""Contexts of texts: "Read" is what somebody is asked to allow, and what was done."""


@dataclass(frozen=True, slots=True)
class ToolKind:
    """What is known of a tool.

    Attributes:
        kind: What sort of thing it does; several tools can have the same.
        icon: The name of a symbol.
        doing, done, do: The verb: "Reading", "Read", "read".
        about: What a call is about.
        name: Of a tool that only its name is known of: what it does.
        denied: The verb where it was refused, if that is not "Did not …".
        server: What `{server}` in the verbs stands for.

    The verbs are looked up as whole texts: "Could not read" is one, and is not put together in another language.
    """

    kind: str
    icon: str
    doing: str
    done: str
    do: str
    about: Callable[[Call], str] = titles.nothing
    name: str = ""
    denied: str = ""
    server: str = ""

    def verb(self, state: ToolState, *, asks: bool = False) -> str:
        """The verb for a state; with `asks` the call waits for a person."""
        match state:
            case "running":
                return self._said(self.doing)
            case "done":
                return self._said(self.done, DONE)
            case "failed":
                return self._said(f"Could not {self.do}")
            case "refused":
                return self._said(self.denied, DONE) if self.denied else self._said(f"Did not {self.do}")
        return self._said(f"Wants to {self.do}" if asks else f"About to {self.do}")

    @property
    def wanted(self) -> str:
        """The verb as a person is asked to allow it: "Read"."""
        return self._said(self.do[:1].upper() + self.do[1:], ASK)

    def _said(self, verb: str, context: str = "") -> str:
        return text(verb, context=context, server=self.server)


_EDIT = ToolKind("edit", "pencil", "Editing", "Edited", "edit", titles.files)
_PATH = titles.path("filePath")
_QUERY = titles.text("query")

TOOLS: dict[str, ToolKind] = {
    "apply_patch": _EDIT,
    "bash": ToolKind("command", "terminal", "Running", "Ran", "run", titles.text("command")),
    "codesearch": ToolKind(
        "web-search", "search", "Searching code for", "Searched code for", "search code for", _QUERY
    ),
    "edit": _EDIT,
    "execute": ToolKind("code", "braces", "Running a program", "Ran a program", "run a program"),
    "glob": ToolKind("find", "folder-search", "Looking for", "Looked for", "look for", titles.search),
    "grep": ToolKind("search", "search", "Searching for", "Searched for", "search for", titles.search),
    "invalid": ToolKind("invalid", "alert", "Calling", "Called", "call", titles.text("tool")),
    "list": ToolKind("list", "folder", "Listing", "Listed", "list", titles.path("path")),
    "list_mcp_resource_templates": ToolKind(
        "mcp",
        "plug",
        "Listing resource templates",
        "Listed resource templates",
        "list resource templates",
        titles.server,
    ),
    "list_mcp_resources": ToolKind(
        "mcp", "plug", "Listing resources", "Listed resources", "list resources", titles.server
    ),
    "lsp": ToolKind(
        "code-search",
        "braces",
        "Asking the language server for",
        "Asked the language server for",
        "ask the language server for",
        titles.language_server,
    ),
    "multiedit": _EDIT,
    "patch": _EDIT,
    "plan_enter": ToolKind("plan", "map", "Beginning to plan", "Began to plan", "begin to plan"),
    "plan_exit": ToolKind("plan", "map", "Proposing the plan", "Proposed the plan", "propose the plan"),
    "question": ToolKind("question", "question", "Asking", "Asked", "ask", titles.questions, denied="Asked"),
    "read": ToolKind("read", "file", "Reading", "Read", "read", _PATH),
    "read_mcp_resource": ToolKind("mcp", "plug", "Reading", "Read", "read", titles.resource),
    "skill": ToolKind(
        "skill", "book", "Loading the skill", "Loaded the skill", "load the skill", titles.text("name")
    ),
    "StructuredOutput": ToolKind(
        "answer", "braces", "Filling in the answer", "Filled in the answer", "fill in the answer"
    ),
    "task": ToolKind("agent", "agent", "Delegating", "Delegated", "delegate", titles.text("description")),
    "todoread": ToolKind(
        "todos", "list-checks", "Reading the todo list", "Read the todo list", "read the todo list"
    ),
    "todowrite": ToolKind(
        "todos", "list-checks", "Updating the todo list", "Updated the todo list", "update the todo list"
    ),
    "webfetch": ToolKind("fetch", "globe", "Fetching", "Fetched", "fetch", titles.text("url")),
    "websearch": ToolKind(
        "web-search",
        "globe-search",
        "Searching the web for",
        "Searched the web for",
        "search the web for",
        _QUERY,
    ),
    "write": ToolKind("write", "file-plus", "Writing", "Wrote", "write", _PATH),
}

_OF_SERVER = ToolKind("mcp", "plug", "Using {server}:", "Used {server}:", "use {server}:")
_OTHER = ToolKind("custom", "tool", "Using", "Used", "use")


def kind_of(tool: str) -> ToolKind:
    """The description of a tool; for an unknown one, a description made from its name."""
    found = TOOLS.get(tool)
    if found is not None:
        return found
    server, name = provider_of(tool)
    known = _OF_SERVER if server else _OTHER
    return replace(known, about=lambda _: name, name=name, server=server)
