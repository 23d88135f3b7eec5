"""The texts for a permission that an agent needs: a symbol, a verb and a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from opencode_sessions.display.coerce import LONGEST, Json, objects, one_line
from opencode_sessions.display.tools.file_cards import asked
from opencode_sessions.display.tools.naming import provider
from opencode_sessions.display.tools.paths import relative, short
from opencode_sessions.display.tools.registry import ASK, TOOLS, kind_of
from opencode_sessions.protocol.plain import said
from opencode_sessions.texts import counted, text

__all__ = ["Wanted", "Words", "is_known", "words_of"]

_LONGEST_TARGET = 2_000


class Words(NamedTuple):
    """A symbol, a verb ("Run", "Edit", "Use GitHub:") and a target on one line, which ends with … if it is cut.

    `told` has the texts that need not be repeated if that line is complete.
    """

    icon: str
    verb: str
    target: str
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A permission ask. `given` is the input of the tool; `root` is the worktree."""

    permission: str
    metadata: Json
    patterns: tuple[str, ...]
    given: Json
    root: str

    def first(self, *names: str) -> str:
        """The first text of the metadata, else the first pattern that is not only a wildcard."""
        texts = (said(self.metadata.get(name)) for name in names)
        return next((text for text in texts if text), next((p for p in self.patterns if p != "*"), ""))


def is_known(permission: str) -> bool:
    """Is it a permission of the server itself? For others only the name is known, and `words_of` may shorten it."""
    return permission in _WORDS or permission in TOOLS


def words_of(wanted: Wanted) -> Words:
    """The texts for a permission ask."""
    return _WORDS.get(wanted.permission, _of_tool)(wanted)


def _run(wanted: Wanted) -> Words:
    command = wanted.first("command")
    lines = [line for line in command.split("\n") if line.strip()]
    target = one_line(command, _LONGEST_TARGET)
    if "\n" in command:
        many = counted("{count} line", "{count} lines", command.count("\n") + 1)
        target = f"{one_line(lines[0] if lines else '', LONGEST)} … ({many})"
    return Words("terminal", text("Run", context=ASK), target)


def _edit(wanted: Wanted) -> Words:
    diff = asked(wanted.metadata, wanted.root)
    changes = {file.change for file in diff.files} if diff else set()
    target = one_line(", ".join(_files(wanted)), _LONGEST_TARGET)
    path, given = said(wanted.metadata.get("filepath")), said(wanted.given.get("filePath"))
    told = (path, given) if path == given or path.endswith(f"/{given}") else (path,)
    if changes == {"add"}:
        return Words("file-plus", text("Create", context=ASK), target, told)
    if changes == {"delete"}:
        return Words("trash", text("Delete", context=ASK), target, told)
    return Words("pencil", text("Edit", context=ASK), target, told)


def _files(wanted: Wanted) -> list[str]:
    """The paths relative to the worktree, or absolute.

    A pattern is not a path: for a file outside of the worktree, or if the worktree is `/`, it has no slash at its
    beginning (1.18.33).
    """
    files = [
        (said(file.get("filePath")), said(file.get("movePath")))
        for file in objects(wanted.metadata.get("files"))
    ]
    path = said(wanted.metadata.get("filepath"))
    if not files and path.startswith("/"):
        files = [(path, "")]
    if not files:
        return [path for path in wanted.patterns if path != "*"] or [path]
    return [" → ".join(relative(each, wanted.root) for each in file if each) for file in files]


def _read(wanted: Wanted) -> Words:
    uri, server = said(wanted.metadata.get("uri")), said(wanted.metadata.get("server"))
    if uri or server:
        target = text(
            "{resource} of {server}",
            resource=uri or text("the resources"),
            server=provider(server) or text("an MCP server"),
        )
        told = (uri, server) if f"mcp:{server}:{uri}" in wanted.patterns else (uri,)
        return Words("plug", text("Read", context=ASK), one_line(target, _LONGEST_TARGET), told)
    path = said(wanted.given.get("filePath")) or wanted.first("filepath")
    if wanted.root == "/" and not wanted.given:
        path = f"/{path.lstrip('/')}"
    return Words("file", text("Read", context=ASK), short(path, wanted.root, _LONGEST_TARGET), (path,))


def _outside(wanted: Wanted) -> Words:
    path = wanted.first("filepath")
    return Words(
        "folder", text("Use files outside of the project:"), one_line(path, _LONGEST_TARGET), (path,)
    )


def _loop(wanted: Wanted) -> Words:
    tool = wanted.first("tool")
    return Words("retry", text("Go on, though it repeats itself:"), one_line(tool), (tool,))


def _of_tool(wanted: Wanted) -> Words:
    kind = kind_of(wanted.permission)
    verb = kind.wanted
    if wanted.permission not in TOOLS:
        return Words(kind.icon, verb, kind.name)
    target = wanted.first("command", "url", "query", "description", "pattern", "operation")
    return Words(kind.icon, verb, one_line(target, _LONGEST_TARGET), (target,))


_WORDS: dict[str, Callable[[Wanted], Words]] = {
    "bash": _run,
    "doom_loop": _loop,
    "edit": _edit,
    "external_directory": _outside,
    "read": _read,
}
