"""What a tool call is about, in a few words on one line: a path, a command, a pattern, a question."""

from __future__ import annotations

from collections.abc import Callable

from opencode_sessions.display.coerce import number, objects, one_line
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.cards import counted
from opencode_sessions.display.tools.naming import provider, words
from opencode_sessions.display.tools.paths import relative
from opencode_sessions.protocol.plain import said

__all__ = ["files", "language_server", "nothing", "path", "questions", "resource", "search", "server", "text"]

Target = Callable[[Call], str]

_NAMED = 3


def nothing(_: Call) -> str:
    """The verb says it all."""
    return ""


def text(name: str) -> Target:
    """A text of the input."""
    return lambda call: one_line(call.given.get(name))


def path(name: str) -> Target:
    """A path of the input, from the root of the worktree on; the worktree itself is a dot."""
    return lambda call: call.path(name) or ("." if name == "path" else "")


def files(call: Call) -> str:
    """The files that an edit or a patch is for."""
    named = [said(file.get("movePath")) or said(file.get("filePath")) for file in objects(call.told("files"))]
    named = named or [call.said("filePath")]
    shown = [relative(name, call.root) for name in named if name]
    if len(shown) > _NAMED:
        return one_line(", ".join(shown[:_NAMED]) + f" and {counted(len(shown) - _NAMED, 'more file')}")
    return one_line(", ".join(shown)) or "files"


def search(call: Call) -> str:
    """The pattern, and where it is looked for if not everywhere."""
    pattern, where, which = call.said("pattern"), relative(call.said("path"), call.root), call.said("include")
    return one_line(pattern + (f" in {where}" if where else "") + (f" ({which})" if which else ""))


def questions(call: Call) -> str:
    """The question, or how many there are."""
    asked = objects(call.given.get("questions"))
    if len(asked) == 1:
        return one_line(asked[0].get("question")) or one_line(asked[0].get("header"))
    return counted(len(asked), "question")


def language_server(call: Call) -> str:
    """`hover: shop/cart.py:13`."""
    place, line, query = (
        relative(call.said("filePath"), call.root),
        number(call.given.get("line")),
        call.said("query"),
    )
    about = query or (f"{place}:{line}" if place and line else place)
    operation = words(call.said("operation"))
    return one_line(f"{operation}: {about}") if about else operation


def server(call: Call) -> str:
    """The MCP server, if one is named."""
    name = call.said("server")
    return f"of {provider(name)}" if name else ""


def resource(call: Call) -> str:
    """A resource of an MCP server."""
    return one_line(f"{call.said('uri')} {server(call)}")
