"""The tools of the server: for each what it is, a symbol, and how people say what it does.

Known are those of 1.18.33 (`/experimental/tool/ids`, and those that an experiment or an MCP server adds), and a few
that releases before and after it have. Any other is one of an MCP server or a plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opencode_sessions.display.tools import titles
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.cards import ToolState
from opencode_sessions.display.tools.naming import provider_of

__all__ = ["TOOLS", "ToolKind", "kind_of"]


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
    """

    kind: str
    icon: str
    doing: str
    done: str
    do: str
    about: Callable[[Call], str] = titles.nothing
    name: str = ""
    denied: str = ""

    def verb(self, state: ToolState, *, asks: bool = False) -> str:
        """The verb as it stands; with `asks` the call waits for a person."""
        match state:
            case "running":
                return self.doing
            case "done":
                return self.done
            case "failed":
                return f"Could not {self.do}"
            case "refused":
                return self.denied or f"Did not {self.do}"
        return f"Wants to {self.do}" if asks else f"About to {self.do}"


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


def kind_of(tool: str) -> ToolKind:
    """What is known of a tool; of one that is not known here, what its name tells."""
    known = TOOLS.get(tool)
    if known is not None:
        return known
    server, name = provider_of(tool)
    verbs = (f"Using {server}:", f"Used {server}:", f"use {server}:") if server else ("Using", "Used", "use")
    kind, icon = ("mcp", "plug") if server else ("custom", "tool")
    return ToolKind(kind, icon, *verbs, about=lambda _: name, name=name)
