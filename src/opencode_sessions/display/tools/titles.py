"""The target of a tool call on one line: a path, a command, a pattern, a question."""

from __future__ import annotations

from collections.abc import Callable

from opencode_sessions.display.coerce import number, objects, one_line
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.naming import provider, words
from opencode_sessions.display.tools.paths import relative
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import counted
from opencode_sessions.texts import text as translated

__all__ = ["files", "language_server", "nothing", "path", "questions", "resource", "search", "server", "text"]

Target = Callable[[Call], str]

_NAMED = 3


def nothing(_: Call) -> str:
    """No target: the verb is enough."""
    return ""


def text(name: str) -> Target:
    """A text of the input."""
    return lambda call: one_line(call.given.get(name))


def path(name: str) -> Target:
    """A path of the input, relative to the worktree; the worktree itself is a dot."""
    return lambda call: call.path(name) or ("." if name == "path" else "")


def files(call: Call) -> str:
    """The files of an edit or a patch."""
    named = [said(file.get("movePath")) or said(file.get("filePath")) for file in objects(call.told("files"))]
    named = named or [call.said("filePath")]
    shown = [relative(name, call.root) for name in named if name]
    if len(shown) > _NAMED:
        more, first = len(shown) - _NAMED, ", ".join(shown[:_NAMED])
        return one_line(
            counted("{files} and {count} more file", "{files} and {count} more files", more, files=first)
        )
    return one_line(", ".join(shown)) or translated("files")


def search(call: Call) -> str:
    """The pattern, with the folder if the search is limited to one."""
    pattern, where, which = call.said("pattern"), relative(call.said("path"), call.root), call.said("include")
    found = translated("{pattern} in {folder}", pattern=pattern, folder=where) if where else pattern
    return one_line(f"{found} ({which})" if which else found)


def questions(call: Call) -> str:
    """The question, or the number of questions."""
    asked = objects(call.given.get("questions"))
    if len(asked) == 1:
        return one_line(asked[0].get("question")) or one_line(asked[0].get("header"))
    return counted("{count} question", "{count} questions", len(asked))


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
    return translated("of {server}", server=provider(name)) if name else ""


def resource(call: Call) -> str:
    """A resource of an MCP server."""
    uri, name = call.said("uri"), call.said("server")
    return one_line(
        translated("{resource} of {server}", resource=uri, server=provider(name)) if name else uri
    )
